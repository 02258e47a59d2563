"""Steps and what a model says of them: the power at any time, and how much it changes where a reading may have looked instead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PLACES = 8
"""At so many places of where it may have looked, evenly spread, a reading is taken from what the model says."""
SHORTEST_S = 1e-12
FAR_S = 1e3
"""Nothing runs for so long before and after the steps."""


@dataclass(frozen=True)
class Steps:
    """Steps in order of their begin, in seconds, and what a model says of each in joules; `idle_w` is the power where there are none."""

    t0_s: Floats
    t1_s: Floats
    joules: Floats
    idle_w: float = 0.0

    @property
    def power_w(self) -> Floats:
        """Mean power of each step."""
        return self.joules / np.maximum(self.t1_s - self.t0_s, SHORTEST_S)


def when_it_looked(steps: Steps, lo_s: Floats, hi_s: Floats, unsure_s: Floats) -> Floats:
    """Variance (W^2) of the mean power that the model says between `lo_s` and `hi_s`, if both were moved by up to half of `unsure_s`."""
    time = np.concatenate([steps.t0_s, steps.t1_s])
    order = np.argsort(time, kind="stable")
    time = time[order]
    power = np.cumsum(np.concatenate([steps.power_w, -steps.power_w])[order])
    running = np.cumsum(np.concatenate([np.ones(len(steps.t0_s)), -np.ones(len(steps.t1_s))])[order])
    power = np.where(running > 0, power, steps.idle_w)
    first, last = min(lo_s.min(initial=0.0), time.min(initial=0.0)), max(hi_s.max(initial=0.0), time.max(initial=0.0))
    ends = np.concatenate([[first - FAR_S], time, [last + FAR_S]])
    power = np.concatenate([[steps.idle_w], power])
    joules = np.concatenate([[0.0], np.cumsum(power * np.diff(ends))])
    square, mean = np.zeros(len(lo_s)), np.zeros(len(lo_s))
    for place in (np.arange(PLACES) + 0.5) / PLACES - 0.5:
        moved = place * unsure_s
        seen_w = (np.interp(hi_s + moved, ends, joules) - np.interp(lo_s + moved, ends, joules)) / np.maximum(hi_s - lo_s, SHORTEST_S)
        square, mean = square + seen_w**2 / PLACES, mean + seen_w / PLACES
    return np.asarray(np.maximum(square - mean**2, 0.0))
