"""Gain and offset of a channel against a reference: a straight line through steady levels, both of which are uncertain.

`reference = offset_w + gain * channel`, errors in both variables: York et al., Am. J. Phys. 72 (2004) 367, without correlation within a
level. Scatter beyond the stated uncertainties widens them (Birge ratio). The reference's own gain error is common to all levels; it
moves gain and offset alike and enters both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tpb_core.api import PreconditionFailed

LEAST_LEVELS = 5
LEAST_RANGE = 0.2
"""Range of the reference's levels over the highest of them."""
LEAST_RANGE_U = 20.0
"""The same range over the typical uncertainty of a level."""
APART = 0.03
"""Levels closer than this share of the range are one."""
_ITERATIONS = 60


@dataclass(frozen=True)
class Level:
    """Mean power of a steady stretch on the channel and on the reference, watts, with standard uncertainties of the means."""

    channel_w: float
    channel_u_w: float
    reference_w: float
    reference_u_w: float


@dataclass(frozen=True)
class Calibration:
    """The correction and its standard uncertainties; `levels` different levels from `low_w` to `high_w` of the reference.

    `scatter` is the root of chi-square over degrees of freedom: near 1 where the line fits within the stated uncertainties.
    """

    gain: float
    offset_w: float
    gain_u_rel: float
    offset_u_w: float
    levels: int
    low_w: float
    high_w: float
    scatter: float


def fit_calibration(levels: Sequence[Level], *, reference_u_rel: float = 0.0, reference_u_w: float = 0.0) -> Calibration:
    """Fit the line. `reference_u_rel` and `reference_u_w`: the reference's own standard uncertainties of gain and offset.

    Raises PreconditionFailed with fewer than five different levels, or where they do not span enough.
    """
    x, ux = np.array([level.channel_w for level in levels]), np.array([level.channel_u_w for level in levels])
    y, uy = np.array([level.reference_w for level in levels]), np.array([level.reference_u_w for level in levels])
    different = _different(x, y)
    if different < LEAST_LEVELS:
        raise PreconditionFailed(
            f"{different} steady levels are too few: a line with an uncertainty needs {LEAST_LEVELS}",
            "Measure longer, or with a load that has more levels.",
        )
    span = float(np.ptp(y))
    if span < LEAST_RANGE * float(np.abs(y).max()) or span < LEAST_RANGE_U * float(np.median(np.hypot(ux, uy))):
        raise PreconditionFailed(
            f"the reference only moved from {y.min():.4g} to {y.max():.4g} W, which is too little for a gain",
            "Use a load that draws more, of the device that the reference measures.",
        )
    floor = 1e-9 * float(np.abs(y).max())
    gain, offset, gain_u, offset_u, chi2 = _york(x, np.maximum(ux, floor), y, np.maximum(uy, floor))
    scatter = float(np.sqrt(chi2 / (len(x) - 2)))
    wider = max(scatter, 1.0)
    return Calibration(
        gain=gain,
        offset_w=offset,
        gain_u_rel=float(np.hypot(wider * gain_u / gain, reference_u_rel)),
        offset_u_w=float(np.sqrt((wider * offset_u) ** 2 + (reference_u_rel * offset) ** 2 + reference_u_w**2)),
        levels=different,
        low_w=float(y.min()),
        high_w=float(y.max()),
        scatter=scatter,
    )


def _different(x: np.ndarray, y: np.ndarray) -> int:
    """How many levels differ on both by more than `APART` of their range."""
    counts = []
    for values in (x, y):
        ordered = np.sort(values)
        counted, last = (1, ordered[0]) if len(ordered) else (0, 0.0)
        for value in ordered:
            if value - last > APART * (ordered[-1] - ordered[0]):
                counted, last = counted + 1, value
        counts.append(counted if len(ordered) and ordered[-1] > ordered[0] else min(counted, 1))
    return min(counts)


def _york(x: np.ndarray, ux: np.ndarray, y: np.ndarray, uy: np.ndarray) -> tuple[float, float, float, float, float]:
    """Gain, offset, their standard uncertainties, chi-square."""
    wx, wy = 1 / ux**2, 1 / uy**2
    gain = float(np.polyfit(x, y, 1)[0])
    for _ in range(_ITERATIONS):
        weight = wx * wy / (wx + gain**2 * wy)
        mean_x, mean_y = weight @ x / weight.sum(), weight @ y / weight.sum()
        u, v = x - mean_x, y - mean_y
        beta = weight * (u / wy + gain * v / wx)
        before, gain = gain, float((weight * beta) @ v / ((weight * beta) @ u))
        if abs(gain - before) <= 1e-14 * abs(gain):
            break
    offset = float(mean_y - gain * mean_x)
    adjusted = mean_x + beta
    centre = float(weight @ adjusted / weight.sum())
    gain_u = float(1 / np.sqrt(weight @ (adjusted - centre) ** 2))
    offset_u = float(np.sqrt(1 / weight.sum() + centre**2 * gain_u**2))
    return gain, offset, gain_u, offset_u, float(weight @ (y - offset - gain * x) ** 2)
