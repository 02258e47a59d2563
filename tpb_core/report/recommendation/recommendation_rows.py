"""A recommendation as rows for CSV and JSON, and as a printed table."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from tpb_core.report.recommendation.recommendation import BEST, MISSES, MORE, TIE, Candidate
from tpb_core.report.rounding import MISSING, significant, with_interval
from tpb_core.store.targets import Target

_WORDS = {BEST: "least energy", TIE: "tie with 1", MORE: "more", MISSES: "misses"}


def recommendation_table(candidates: Sequence[Candidate], targets: Sequence[Target]) -> pa.Table:
    """One row a configuration; numbers are not rounded."""
    rows = []
    for candidate in candidates:
        energy, goodput, run = candidate.energy, candidate.goodput, candidate.configuration.records[0].run
        within, total = (energy.within, energy.total) if energy else (None, None)
        rows.append(
            {
                "configuration": candidate.configuration.label,
                "engine": run["engine"],
                "model": run["model"],
                "runs": len(candidate.configuration.records),
                "standing": candidate.standing,
                "j_per_good_request": energy.value if energy else None,
                "ci_low": within.low if within else None,
                "ci_high": within.high if within else None,
                "ci_total_low": total.low if total else None,
                "ci_total_high": total.high if total else None,
                "good_requests_per_s": goodput.per_s,
                "good_requests": goodput.good,
                "requests": goodput.judged,
                **{f"share_{target.metric}_p{target.percent:g}": goodput.share(n) for n, target in enumerate(targets)},
                "reason": candidate.reason,
            }
        )
    return pa.Table.from_pylist(rows)


def recommendation_text(candidates: Sequence[Candidate], targets: Sequence[Target]) -> Table:
    """For the terminal, rounded to the interval."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", justify="right")
    table.add_column("configuration", overflow="fold")
    for name in ("J per good request", "95 % within rig", "good/s", *(target.text for target in targets)):
        table.add_column(name, justify="right")
    table.add_column("")
    for number, candidate in enumerate(candidates, start=1):
        energy, goodput = candidate.energy, candidate.goodput
        value, interval = MISSING, MISSING
        if energy is not None and energy.value is not None:
            within = energy.within
            value, interval = with_interval(energy.value, within.low, within.high) if within else (significant(energy.value, 3), MISSING)
        shares = [MISSING if (share := goodput.share(n)) is None else f"{100 * share:.3g} %" for n in range(len(targets))]
        said = "; ".join(part for part in (_WORDS.get(candidate.standing, ""), candidate.reason) if part)
        good = MISSING if goodput.per_s is None else significant(goodput.per_s, 3)
        table.add_row(*(Text(cell) for cell in (str(number), candidate.configuration.label, value, interval, good, *shares, said)))
    return table
