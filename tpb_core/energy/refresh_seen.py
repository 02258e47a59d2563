"""What a series shows of its sensor by itself: how often it takes a new value, and in which steps. Standard library only.

The sampler runs this in its own process on the first seconds of a run.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LEAST_GAPS = 8
REGULAR = 1.5
"""Largest ratio of p90 to p10 at which the gaps are those of one period."""
POLLED_ENOUGH = 2.0
"""A period is known where it is at least so many readings long; a sensor that refreshes faster is merely read each time anew."""
WHOLE = 0.02
"""How far a difference may lie from a whole number of steps, in steps."""


@dataclass(frozen=True)
class RefreshSeen:
    """Time between changes of the value in ms: median, p10, p90, and of how many gaps; `poll_ms` is the time between reads.

    `period_ms` with its standard uncertainty is the refresh period where the gaps are regular and longer than two readings, else None.
    """

    median_ms: float
    p10_ms: float
    p90_ms: float
    gaps: int
    poll_ms: float
    period_ms: float | None
    period_u_ms: float | None


def refresh_seen(t_ns: Sequence[int], value: Sequence[float]) -> RefreshSeen | None:
    """From readings in time order; None with fewer than two changes.

    The period is the mean gap (a change is seen up to one reading late, which cancels but at the two ends: poll / sqrt(6) over the count).
    """
    changed = [t_ns[i] for i in range(1, len(value)) if value[i] != value[i - 1]]
    gaps = sorted((b - a) / 1e6 for a, b in pairwise(changed))
    if not gaps:
        return None
    median, p10, p90 = statistics.median(gaps), gaps[len(gaps) // 10], gaps[-1 - len(gaps) // 10]
    poll_ms = statistics.median((b - a) / 1e6 for a, b in pairwise(t_ns))
    # What a poll adds to or takes from a single gap is no irregularity of the sensor.
    regular = len(gaps) >= LEAST_GAPS and p90 - poll_ms <= REGULAR * (p10 + poll_ms) and p90 <= 2 * p10
    if not regular or median < POLLED_ENOUGH * poll_ms:
        return RefreshSeen(median, p10, p90, len(gaps), poll_ms, None, None)
    period = statistics.fmean(gaps)
    return RefreshSeen(median, p10, p90, len(gaps), poll_ms, period, poll_ms / math.sqrt(6) / len(gaps))


def resolution_seen(value: Sequence[float]) -> float | None:
    """The step of which all differences are whole multiples; None where there is none, or too few different values to tell."""
    levels = sorted(set(value))
    steps = sorted(b - a for a, b in pairwise(levels))
    if len(steps) < LEAST_GAPS:
        return None
    least = steps[0]
    if least <= 1e-9 * max(abs(levels[0]), abs(levels[-1])):
        return None
    ratios = [step / least for step in steps]
    if all(abs(ratio - round(ratio)) <= WHOLE for ratio in ratios if ratio < 0.5 / WHOLE):
        return least
    return None
