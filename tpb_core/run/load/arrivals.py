"""Arrival schedules of open loops: offsets in seconds from the first request, and when the interval after the last one ends.

All are seeded; the first request is due at 0. Poisson and gamma gaps: burstiness b means gaps of Gamma(b, 1 / (rate b)), whose coefficient
of variation is 1 / sqrt(b). The ramp is an inhomogeneous Poisson process by inversion of its integrated rate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Schedule = tuple[Floats, float]
"""Offsets of the requests (s), and the offset at which the last scheduled interval ends."""

_MOST = 2_000_000


def constant(rate: float, requests: int, duration_s: float | None) -> Schedule:
    """Every 1/rate seconds."""
    count = requests if duration_s is None else max(1, int(np.ceil(duration_s * rate - 1e-9)))
    offsets = np.arange(count) / rate
    return offsets, duration_s if duration_s is not None else count / rate


def gamma(rate: float, burstiness: float, requests: int, duration_s: float | None, seed: int) -> Schedule:
    """Gaps of a gamma distribution; burstiness 1 is a Poisson process."""
    draw = np.random.default_rng(seed)
    if duration_s is None:
        ends = np.cumsum(draw.gamma(burstiness, 1 / (rate * burstiness), requests))
        return np.concatenate(([0.0], ends[:-1])), float(ends[-1])
    offsets = np.zeros(1)
    while offsets[-1] < duration_s and len(offsets) < _MOST:
        more = np.cumsum(draw.gamma(burstiness, 1 / (rate * burstiness), max(16, int(duration_s * rate) + 1)))
        offsets = np.concatenate((offsets, offsets[-1] + more))
    return offsets[offsets < duration_s], duration_s


def ramp(rate: float, end_rate: float, duration_s: float, seed: int) -> Schedule:
    """Integrated rate L(t) = r0 t + (r1 - r0) t^2 / (2 T); arrivals are where it passes the sums of unit exponentials."""
    draw = np.random.default_rng(seed)
    total = (rate + end_rate) / 2 * duration_s
    levels = np.cumsum(draw.exponential(1.0, int(total + 10 * np.sqrt(total) + 20)))
    levels = np.concatenate(([0.0], levels[levels < total]))
    slope = (end_rate - rate) / duration_s
    offsets = levels / rate if slope == 0 else (np.sqrt(np.maximum(rate**2 + 2 * slope * levels, 0.0)) - rate) / slope
    return offsets, duration_s


def trace(arrivals_s: Floats, rate_scale: float, duration_s: float | None) -> Schedule:
    """Recorded arrivals in their order, `rate_scale` times as fast; ends one mean gap after the last one."""
    offsets = (arrivals_s - arrivals_s[0]) / rate_scale
    if duration_s is not None:
        return offsets[offsets < duration_s], duration_s
    mean_gap = offsets[-1] / (len(offsets) - 1) if len(offsets) > 1 else 1.0
    return offsets, float(offsets[-1] + mean_gap)
