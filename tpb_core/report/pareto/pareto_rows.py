"""The front as rows for CSV and JSON, and as a printed table."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from tpb_core.report.pareto.front import ENERGIES, FRONT, SPEEDS, Place
from tpb_core.report.rounding import MISSING, significant, with_interval

_WORDS = {FRONT: "on the front", "tie": "tie with", "beaten": "beaten by"}


def pareto_table(places: Sequence[Place], energy: str, speed: str, scope: str) -> pa.Table:
    """One row a configuration; numbers are not rounded."""
    rows = []
    for place in places:
        within, total, run = place.energy.within, place.energy.total, place.configuration.records[0].run
        rows.append(
            {
                "configuration": place.configuration.label,
                "engine": run["engine"],
                "model": run["model"],
                "runs": len(place.configuration.records),
                f"j_per_{'output_token' if energy == 'token' else 'request'}": place.energy.value,
                "ci_low": within.low if within else None,
                "ci_high": within.high if within else None,
                "ci_total_low": total.low if total else None,
                "ci_total_high": total.high if total else None,
                "ci_kind": place.energy.kind,
                speed: place.speed,
                "standing": place.standing,
                "beaten_by": place.beaten_by.label if place.beaten_by else None,
                "evidence": "simulated" if place.configuration.records[0].simulated else place.configuration.energies(scope)[0].evidence,
            }
        )
    return pa.Table.from_pylist(rows)


def pareto_text(places: Sequence[Place], energy: str, speed: str) -> Table:
    """For the terminal, rounded to the interval."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", justify="right")
    table.add_column("configuration", overflow="fold")
    numbers = {id(place.configuration): number for number, place in enumerate(places, start=1)}
    for name in ("runs", SPEEDS[speed][0], ENERGIES[energy][1]):
        table.add_column(name, justify="right")
    for name in ("95 % within rig", "standing"):
        table.add_column(name)
    for place in places:
        within = place.energy.within
        value = place.energy.value or 0.0
        shown, interval = with_interval(value, within.low, within.high) if within else (significant(value, 3), MISSING)
        standing = _WORDS[place.standing] + (f" {numbers[id(place.beaten_by)]}" if place.beaten_by else "")
        cells = [
            str(numbers[id(place.configuration)]),
            place.configuration.label,
            str(len(place.configuration.records)),
            significant(place.speed, 4),
            shown,
            interval,
            standing,
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table
