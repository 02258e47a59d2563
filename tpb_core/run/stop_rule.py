"""When a study ends: `run.until_ci` adds repeats until an interval is narrow enough, `run.until_saturated` leaves further points out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

from tpb_core.api.errors import BadInput
from tpb_core.run.plan import Plan, Slot

_FEWEST = 3
"""Below three repeats the t-interval says nothing that anybody would stop for."""


class StopRule:
    """Collects the figure of every run; `more` yields further slots for points whose interval is too wide.

    The interval is mean +- t(0.975, n - 1) s / sqrt(n). Looking at it after each repeat makes its true level a little less than 95 %
    (optional stopping); with a floor of three repeats and a cap this is small beside what the spread of so few runs can tell.
    """

    def __init__(self, plan: Plan) -> None:
        run = plan.slots[0].point.run
        self.target = None if run.until_ci is None else share(run.until_ci)
        self._max_repeats = run.max_repeats
        self._points = {slot.point.point: slot.point for slot in plan.slots}
        self._repeats = {point: 1 + max(s.repeat for s in plan.slots if s.point.point == point) for point in self._points}
        self._figures: dict[str, list[float]] = {point: [] for point in self._points}
        self._order = len(plan.slots)

    def take(self, point: str, bundle: Path) -> None:
        """The figure of one run; a run without one counts as no repeat."""
        if self.target is None:
            return
        from tpb_core.store.results import results_of

        for row in results_of(bundle):
            if (
                (row["window"], row["scope"]) == ("measure", "total")
                and row["status"] == "complete"
                and row["j_per_output_token"] is not None
            ):
                self._figures[point].append(row["j_per_output_token"])

    def more(self) -> Iterator[Slot]:
        """One further repeat of each point that needs it, round by round."""
        while self.target is not None:
            wanted = [name for name in self._points if self._wants(name)]
            if not wanted:
                return
            for name in wanted:
                slot = Slot(self._points[name], self._repeats[name], self._order)
                self._repeats[name] += 1
                self._order += 1
                yield slot

    def half_width(self, point: str) -> float | None:
        """Half of the 95 % interval as a share of the mean; None below three figures."""
        figures = self._figures[point]
        if len(figures) < _FEWEST:
            return None
        from scipy import stats

        return float(stats.t.ppf(0.975, len(figures) - 1) * stdev(figures) / math.sqrt(len(figures)) / mean(figures))

    def _wants(self, point: str) -> bool:
        assert self.target is not None
        if self._repeats[point] >= self._max_repeats:
            return False
        if self._repeats[point] >= _FEWEST and len(self._figures[point]) == 0:
            return False  # nothing is measured here, and more of it will not help
        half = self.half_width(point)
        return half is None or half > self.target


class Saturation:
    """Watches the throughput of successive points (`run.order=sequential`), for example of growing rates or concurrencies."""

    def __init__(self, plan: Plan) -> None:
        text = plan.slots[0].point.run.until_saturated
        self._least_gain = None if text is None else share(text, "run.until_saturated")
        self._before: float | None = None

    def reached(self, bundle: Path) -> float | None:
        """The gain in output tokens/s over the point before, where it is less than the stated share; None otherwise."""
        if self._least_gain is None:
            return None
        from tpb_core.store.results import results_of

        rows = [row for row in results_of(bundle) if (row["window"], row["scope"]) == ("measure", "total")]
        rate = rows[0]["output_tokens_per_s"] if rows else None
        if rate is None:
            return None
        before, self._before = self._before, rate
        gain = None if before is None else float(rate / before - 1)
        return gain if gain is not None and gain < self._least_gain else None


def share(text: str, key: str = "run.until_ci") -> float:
    """`2%` or `0.02` as 0.02. Raises `BadInput`."""
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise BadInput(f"{key}={text}: not a share", f"Type for example {key}=2%")
    return value
