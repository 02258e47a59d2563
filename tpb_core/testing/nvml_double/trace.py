"""Power traces with a known integral: piecewise constant power over time, optionally repeated for ever."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PowerTrace:
    """Levels `(t_s, watts)`: each holds from its time until the next one; the first must begin at 0, the last one never ends.

    With `period_s` the levels before it repeat, also before time 0. Times are seconds after the scene's origin.
    """

    levels: tuple[tuple[float, float], ...]
    period_s: float | None = None

    def __post_init__(self) -> None:
        times = [t for t, _ in self.levels]
        if not times or times[0] != 0.0 or any(b <= a for a, b in itertools.pairwise(times)):
            raise ValueError("levels must begin at 0 s and rise in time")
        if self.period_s is not None and self.period_s <= times[-1]:
            raise ValueError("the period must end after the last level begins")

    @classmethod
    def constant(cls, watts: float) -> PowerTrace:
        """One level for ever."""
        return cls(((0.0, watts),))

    @classmethod
    def square(cls, low_w: float, high_w: float, *, low_s: float, high_s: float) -> PowerTrace:
        """Low, then high, repeated."""
        return cls(((0.0, low_w), (low_s, high_w)), low_s + high_s)

    @classmethod
    def steps(cls, parts: Sequence[tuple[float, float]]) -> PowerTrace:
        """From `(duration_s, watts)` parts one after the other; the last level stays on."""
        t_s, levels = 0.0, []
        for duration_s, watts in parts:
            levels.append((t_s, watts))
            t_s += duration_s
        return cls(tuple(levels))

    def scaled(self, factor: float, plus_w: float = 0.0) -> PowerTrace:
        """The same shape with every level multiplied and raised: a memory share, a module around a GPU."""
        return PowerTrace(tuple((t_s, watts * factor + plus_w) for t_s, watts in self.levels), self.period_s)

    def power_w(self, t_s: float) -> float:
        """Power at a time in seconds."""
        if self.period_s is not None:
            t_s %= self.period_s
        index = bisect.bisect_right(self.levels, (t_s, float("inf"))) - 1
        return self.levels[max(index, 0)][1]

    def energy_j(self, from_s: float, until_s: float) -> float:
        """The exact integral of power between two times, in joules."""
        return self._integral_j(until_s) - self._integral_j(from_s)

    def _integral_j(self, t_s: float) -> float:
        if self.period_s is None:
            return self._within_j(t_s)
        turns, rest_s = divmod(t_s, self.period_s)
        return turns * self._within_j(self.period_s) + self._within_j(rest_s)

    def _within_j(self, t_s: float) -> float:
        if t_s <= 0:
            return t_s * self.levels[0][1]
        total_j = 0.0
        for (start_s, watts), end_s in zip(self.levels, [*(t for t, _ in self.levels[1:]), float("inf")], strict=True):
            if t_s <= start_s:
                break
            total_j += watts * (min(t_s, end_s) - start_s)
        return total_j
