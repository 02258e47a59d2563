"""Counting over seeds: bias, root-mean-square error, how often intervals hold the truth, how often there is no figure, how wide it is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tpb_sim.coverage.estimates import Estimate


class Row(NamedTuple):
    """One line of a coverage table. Bias, error and widths are relative to the mean of the truth; NaN where there is nothing to say.

    Bias, error and `within` are against gain * truth + offset * time of the sensors as they were built; `total` is against the truth.
    """

    world: str
    method: str
    figure: str
    seeds: int
    figures: int
    null_share: float
    bias: float
    rmse: float
    within: float
    total: float
    width: float
    total_width: float


@dataclass
class _Sums:
    figures: int = 0
    nulls: int = 0
    truth: float = 0.0
    error: float = 0.0
    square: float = 0.0
    intervals: int = 0
    held: int = 0
    width: float = 0.0
    total_intervals: int = 0
    total_held: int = 0
    total_width: float = 0.0


class Tally:
    """Takes estimates seed by seed; holds sums only, so that millions of requests fit. Tallies of parts of a study can be merged."""

    def __init__(self) -> None:
        self.seeds = 0
        self._sums: dict[tuple[str, str], _Sums] = defaultdict(_Sums)

    def add(self, estimates: Iterable[Estimate]) -> None:
        """All estimates of one seed. A phase that took no time, and is said to, is no test of anything and is left out."""
        self.seeds += 1
        for e in estimates:
            if e.as_metered_j == e.joules == 0.0:
                continue
            sums = self._sums[e.method, e.figure]
            sums.figures += 1
            if math.isnan(e.joules):
                sums.nulls += 1
                continue
            error = e.joules - e.as_metered_j
            sums.truth += e.as_metered_j
            sums.error += error
            sums.square += error * error
            if not math.isnan(e.low):
                sums.intervals += 1
                sums.held += _holds(e.low, e.high, e.as_metered_j)
                sums.width += e.high - e.low
            if not math.isnan(e.total_low):
                sums.total_intervals += 1
                sums.total_held += _holds(e.total_low, e.total_high, e.true_j)
                sums.total_width += e.total_high - e.total_low

    def merge(self, other: Tally) -> None:
        """Add the counts of other seeds."""
        self.seeds += other.seeds
        for key, theirs in other._sums.items():
            mine = self._sums[key]
            for name in vars(theirs):
                setattr(mine, name, getattr(mine, name) + getattr(theirs, name))

    def to_rows(self) -> dict[str, Any]:
        """As JSON values."""
        return {"seeds": self.seeds, "sums": [[*key, vars(sums)] for key, sums in self._sums.items()]}

    @classmethod
    def from_rows(cls, rows: dict[str, Any]) -> Tally:
        """What `to_rows` gave."""
        tally = cls()
        tally.seeds = rows["seeds"]
        tally._sums.update({(method, figure): _Sums(**sums) for method, figure, sums in rows["sums"]})
        return tally

    def rows(self, world: str) -> list[Row]:
        """One row for each method and figure."""
        return [self._row(world, method, figure, sums) for (method, figure), sums in sorted(self._sums.items())]

    def _row(self, world: str, method: str, figure: str, s: _Sums) -> Row:
        told = s.figures - s.nulls
        mean = s.truth / told if told else 0.0
        return Row(
            world,
            method,
            figure,
            self.seeds,
            s.figures,
            s.nulls / s.figures,
            _ratio(s.error / max(told, 1), mean),
            _ratio(math.sqrt(s.square / max(told, 1)), mean),
            _ratio(s.held, s.intervals),
            _ratio(s.total_held, s.total_intervals),
            _ratio(s.width / max(s.intervals, 1), mean if s.intervals else 0.0),
            _ratio(s.total_width / max(s.total_intervals, 1), mean if s.total_intervals else 0.0),
        )


def _holds(low: float, high: float, truth: float) -> bool:
    """Whether an interval holds the truth; one that is exact within rounding does."""
    slack = 1e-9 * (abs(truth) + 1.0)
    return low - slack <= truth <= high + slack


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan
