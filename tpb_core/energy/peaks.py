"""Peak power of a window, always with the time over which it is an average."""

from __future__ import annotations

import numpy as np

from tpb_core.energy.observations import Observations

LEAST_REFRESHES = 5
LEAST_S = 0.1
MOST_BINS = 2_000_000


def averaging_of(observations: Observations) -> float:
    """The shortest time in seconds over which this meter's power is worth quoting: its averaging time, or for a counter five refreshes."""
    if observations.increments:
        usual = float(np.median(observations.hi_s - observations.lo_s)) if len(observations) else LEAST_S
        return max(LEAST_REFRESHES * observations.refresh_s, usual, LEAST_S)
    return observations.averaging_s


def peak_of_one(observations: Observations, t0_s: float, t1_s: float) -> tuple[float, float] | None:
    """(watts, averaging seconds) of a power channel's highest reading, or a counter's highest mean; None without readings."""
    if observations.increments:
        return peak_of_sum([observations], t0_s, t1_s)
    rows = observations.between(t0_s, t1_s)
    inside = observations.good[rows] & (observations.overlap_s(t0_s, t1_s, rows) > 0)
    return (float(observations.mean_w[rows][inside].max()), observations.averaging_s) if inside.any() else None


def peak_of_sum(meters: list[Observations], t0_s: float, t1_s: float) -> tuple[float, float] | None:
    """Highest mean power of several meters together, over bins as long as the slowest of them needs."""
    if not meters or any(len(meter) == 0 for meter in meters):
        return None
    width = max(max(averaging_of(meter) for meter in meters), LEAST_S, (t1_s - t0_s) / MOST_BINS)
    bins = int((t1_s - t0_s) / width)
    if bins < 1:
        return None
    edges = t0_s + width * np.arange(bins + 1)
    power = np.zeros(bins)
    for meter in meters:
        lo, hi = meter.cell_lo_s, meter.cell_hi_s
        stamps = np.concatenate([lo, hi[-1:]])
        energy = np.concatenate([[0.0], np.cumsum(meter.mean_w * (hi - lo))])
        power += np.diff(np.interp(edges, stamps, energy)) / width
    return float(power.max()), width
