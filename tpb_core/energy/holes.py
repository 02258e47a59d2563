"""Holes in a primary channel: bridged by another channel of the domain, by what the states in them draw, or by the power on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tpb_core.energy.observations import Observations
from tpb_core.energy.regression import Fit

LARGEST_SHARE = 0.01
"""Holes over a larger share of the window make its energy NULL."""
SIDE_CELLS = 3
BRIDGE_U_REL = 0.05
"""Least relative standard uncertainty of a bridge by another channel: what two meters of one domain usually differ by."""


@dataclass(frozen=True)
class Hole:
    """A stretch without readings: its middle, its length and what of it is in the window (s), the power that stands there and its u (W)."""

    middle_s: float
    length_s: float
    inside_s: float
    watts: float
    u_w: float


def bridged(observations: Observations, others: Sequence[Observations], t0_s: float, t1_s: float) -> tuple[Observations, list[Hole]]:
    """Observations whose holes near a window are filled by another channel or by the power on both sides, and these holes."""
    rows = observations.between(t0_s, t1_s)
    places = np.flatnonzero(~observations.good[rows]) + rows.start
    if len(places) == 0:
        return observations, []
    mean_w = observations.mean_w.copy()
    inside = observations.overlap_s(t0_s, t1_s)
    holes = []
    for k in places:
        lo, hi = float(observations.cell_lo_s[k]), float(observations.cell_hi_s[k])
        power, u_w = _from_others(others, lo, hi) or _from_sides(observations, k, t0_s, t1_s)
        mean_w[k] = power
        middle_s = float(observations.lo_s[k] + observations.hi_s[k]) / 2
        holes.append(Hole(middle_s, hi - lo, float(inside[k]), power, u_w))
    return observations.with_mean_w(mean_w), holes


def refilled(holes: Sequence[Hole], fit: Fit, averaging_s: float) -> tuple[float, float]:
    """Joules by which a window's energy changes when its holes take the power of the states that the fit saw elsewhere, and its gap term.

    A hole is no evidence, so the states' powers stay. It keeps its bridge where that is surer: against the state's own standard
    uncertainty and what the fit left of readings over stretches as long as the hole (smoothed by `averaging_s`, where that is longer).
    """
    change_j = variance = 0.0
    cell_s = float(np.median(np.diff(fit.middle_s))) if len(fit.middle_s) > 1 else 0.0
    states = [k for k, name in enumerate(fit.names) if name != "total" and fit.durations_s[k] > 0]
    known = [sum(float(c[k, k]) for c in fit.covariances.values()) / float(fit.durations_s[k]) ** 2 for k in states]
    for hole in holes:
        smoothed = max(averaging_s / max(hole.length_s, cell_s, 1e-9), 1.0)
        model_u_w = float(np.sqrt(max(known, default=np.inf) + smoothed * _unexplained(fit, hole.length_s, cell_s)))
        watts = float(fit.explained_w[int(np.argmin(np.abs(fit.middle_s - hole.middle_s)))])
        if model_u_w < hole.u_w:
            change_j += (watts - hole.watts) * hole.inside_s
        variance += (min(model_u_w, hole.u_w) * hole.inside_s) ** 2
    return change_j, float(np.sqrt(variance))


def _unexplained(fit: Fit, length_s: float, cell_s: float) -> float:
    """Mean square (W^2) of what the fit left of readings, averaged over stretches of a length. Holes left nothing and do not count."""
    size = int(np.clip(round(length_s / max(cell_s, 1e-9)), 1, max(len(fit.residual_w) // 4, 1)))
    means = np.convolve(fit.residual_w, np.full(size, 1.0 / size), "valid")
    return float(np.mean(means**2)) * len(fit.residual_w) / max(fit.n, 1)


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
