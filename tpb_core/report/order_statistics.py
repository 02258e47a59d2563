"""Interval of a median by order statistics: no assumption about the distribution of latencies."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from scipy import stats

_LEVEL = 0.95


def median_with_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """The median and its 95 % interval from the binomial distribution of ranks; no interval below six values.

    Requests of one run are not independent (those of a batch share its steps), so this is a lower bound of the spread between runs.
    """
    ordered = sorted(values)
    count = len(ordered)
    rank = int(stats.binom.ppf((1 - _LEVEL) / 2, count, 0.5))
    if rank < 1 or count < 6:
        return median(ordered), None, None
    return median(ordered), ordered[rank - 1], ordered[count - rank]
