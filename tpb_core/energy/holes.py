"""Holes in a primary channel: bridged by another channel of the domain, else by the power on both sides, with what that adds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tpb_core.energy.observations import Observations

LARGEST_SHARE = 0.01
"""Holes over a larger share of the window make its energy NULL."""
SIDE_CELLS = 3
BRIDGE_U_REL = 0.05
"""Least relative standard uncertainty of a bridge by another channel: what two meters of one domain usually differ by."""


def bridged(observations: Observations, others: Sequence[Observations], t0_s: float, t1_s: float) -> tuple[Observations, float]:
    """Observations whose holes near a window are filled, and the standard uncertainty in joules that this adds to the window."""
    rows = observations.between(t0_s, t1_s)
    places = np.flatnonzero(~observations.good[rows]) + rows.start
    if len(places) == 0:
        return observations, 0.0
    mean_w = observations.mean_w.copy()
    inside = observations.overlap_s(t0_s, t1_s)
    variance = 0.0
    for k in places:
        lo, hi = float(observations.cell_lo_s[k]), float(observations.cell_hi_s[k])
        power, u_w = _from_others(others, lo, hi) or _from_sides(observations, k, t0_s, t1_s)
        mean_w[k] = power
        variance += (u_w * float(inside[k])) ** 2
    return observations.with_mean_w(mean_w), float(np.sqrt(variance))


def _from_others(others: Sequence[Observations], lo_s: float, hi_s: float) -> tuple[float, float] | None:
    for other in others:
        covers = len(other) > 0 and other.first_read_s <= lo_s and other.last_read_s >= hi_s
        if covers and hi_s > lo_s and other.hole_s(lo_s, hi_s) == 0.0:
            power = other.energy_between(lo_s, hi_s) / (hi_s - lo_s)
            return power, BRIDGE_U_REL * abs(power)
    return None


def _from_sides(observations: Observations, k: int, t0_s: float, t1_s: float) -> tuple[float, float]:
    """Mean of the power on both sides; u is the range of power in the window over sqrt(12)."""
    before = observations.mean_w[max(k - SIDE_CELLS, 0) : k][observations.good[max(k - SIDE_CELLS, 0) : k]]
    after = observations.mean_w[k + 1 : k + 1 + SIDE_CELLS][observations.good[k + 1 : k + 1 + SIDE_CELLS]]
    sides = [float(side.mean()) for side in (before, after) if len(side)]
    rows = observations.between(t0_s, t1_s)
    seen = observations.mean_w[rows][observations.good[rows]]
    spread = float(np.ptp(seen)) if len(seen) else 0.0
    return (float(np.mean(sides)) if sides else 0.0), spread / float(np.sqrt(12))
