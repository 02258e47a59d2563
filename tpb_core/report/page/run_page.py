"""Everything that the page of a run shows, read once: the bundle, and the rows that the views of the database make of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from tpb_core.api.attributor import Window
from tpb_core.report.evidence_level import level_of_point
from tpb_core.report.page.phase_bands import PhaseBands
from tpb_core.report.run_facts import Row, RunFacts
from tpb_core.store.bundle import Bundle
from tpb_core.store.results import results_of

MEASURE = "measure"


@dataclass(frozen=True)
class RunPage:
    """One run. `origin_ns` is the zero of all times on the page; `energy` and `budget` are the gross rows of the window `measure`,
    `request_energy` those of the one method that is shown."""

    facts: RunFacts
    bundle: Bundle
    origin_ns: int
    bands: PhaseBands
    balance: list[Row]
    energy: list[Row]
    net: list[Row]
    budget: list[Row]
    request_energy: list[Row]
    level: Row
    """The row of `evidence_levels` of the point that this run belongs to, with the repeats that lie beside it."""

    @classmethod
    def read(cls, path: Path) -> RunPage:
        """Read a finished bundle. Raises BadBundle."""
        facts, bundle = RunFacts.read(path), Bundle.open(path)
        origin_ns = _origin_ns(bundle)
        energy = [row for row in _rows(bundle, "energy") if row["window"] == MEASURE]
        return cls(
            facts,
            bundle,
            origin_ns,
            PhaseBands.of(bundle, origin_ns),
            [row for row in results_of(path, "energy_balance") if row["window"] == MEASURE],
            [row for row in energy if row["basis"] == "gross"],
            [row for row in energy if row["basis"] != "gross"],
            [row for row in _rows(bundle, "budget") if row["window"] == MEASURE and row["basis"] == "gross"],
            _request_energy(bundle),
            level_of_point(path),
        )

    @property
    def windows(self) -> list[Window]:
        """Windows that have an end, by their start."""
        return list(self.bundle.windows)

    def window(self, name: str = MEASURE) -> Window | None:
        """A window by its name."""
        return next((window for window in self.windows if window.window == name), None)

    @property
    def span_s(self) -> tuple[float, float]:
        """Begin and end of what was recorded, seconds after the origin."""
        ends = [window.t1_ns for window in self.windows]
        for channel in self.bundle.channels:
            series = self.bundle.series(channel.channel)
            if len(series.t_ns):
                ends.append(int(series.t_ns[-1]))
        return 0.0, max((max(ends, default=self.origin_ns) - self.origin_ns) / 1e9, 1e-3)


def _origin_ns(bundle: Bundle) -> int:
    begins = [window.t0_ns for window in bundle.windows]
    for channel in bundle.channels:
        series = bundle.series(channel.channel)
        if len(series.t_ns):
            begins.append(int(series.t_ns[0]))
    return min(begins, default=0)


def preferred(methods: Iterable[str]) -> str | None:
    """The method whose figures are shown where there are several: `shapley` is the split rule by default, then by name."""
    return min(methods, key=lambda method: (not method.endswith("/shapley"), method), default=None)


def _request_energy(bundle: Bundle) -> list[Row]:
    """Gross rows of the whole run by one method, of those that know most requests: a run of hours has millions of rows of all methods."""
    table = bundle.table("request_energy")
    if table is None:
        return []
    for column, value in (("window", MEASURE), ("basis", "gross"), ("domain", "total")):
        table = table.filter(pc.equal(table[column], value))
    counts = {row["method"]: row["total_j_count"] for row in table.group_by("method").aggregate([("total_j", "count")]).to_pylist()}
    most = max(counts.values(), default=0)
    method = preferred(name for name, count in counts.items() if count == most)
    rows: list[Row] = table.filter(pc.equal(table["method"], method)).to_pylist() if method is not None else []
    return rows


def _rows(bundle: Bundle, table: str) -> list[Row]:
    content = bundle.table(table)
    return [] if content is None else content.to_pylist()
