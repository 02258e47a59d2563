"""Alignment: where a channel's readings sit on the run clock, found from the readings themselves within what is known beforehand.

A sampler sees a refresh at its next read. How late that is hardly changes while both run at nearly one rate, so it is one unknown shift of
the whole window, not noise; where the rates differ it sweeps, and smears. Both are told from how sharply the readings follow the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.energy.columns import Columns
from tpb_core.energy.observations import Observations

Floats = npt.NDArray[np.float64]

SHIFTS = (-1.6, -1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2, 1.6)
"""Tried shifts, in standard uncertainties."""
SMEARS = (0.0, 0.5, 1.0)
"""Tried smears, as shares of the time in which a refresh may have happened."""
MOST_ROWS = 8_000
MATTERS = 0.02
EXPLAINED = 0.9
"""Without phases, readings are aligned to the window itself where its level and those around it explain this share of their variance."""
RIDGE = 1e-9


@dataclass(frozen=True)
class Timing:
    """Standard uncertainties of a channel's timing, seconds: delay, averaging time, clock."""

    delay_u_s: float = 0.0
    averaging_u_s: float = 0.0
    clock_u_s: float = 0.0


@dataclass(frozen=True)
class Alignment:
    """A shift in seconds (readings are later than stated), the share of the stamps' jitter that smears, and the shift's prior parts."""

    shift_s: float
    smear: float
    shift_u_s: float
    stamp_u_s: float


def align(columns: Columns, observations: Observations, rows: slice, trust: Floats, timing: Timing) -> Alignment:
    """The shift and smear under which a plain fit leaves least, the shift penalised by its prior uncertainty."""
    jitter = observations.jitter_hi_s[rows]
    typical = float(np.median(jitter)) if len(jitter) else 0.0
    stamp_u = observations.lateness_s / float(np.sqrt(12))
    shift_u = float(np.sqrt(timing.delay_u_s**2 + timing.clock_u_s**2 + stamp_u**2))
    length = float(np.median(observations.hi_s[rows] - observations.lo_s[rows])) if len(jitter) else 1.0
    states = sum(1 for name in columns.names if name[0] == "in")
    unaligned = Alignment(0.0, 1.0, shift_u, stamp_u)
    if shift_u <= MATTERS * length:
        return unaligned
    part = slice(rows.start, min(rows.stop, rows.start + MOST_ROWS))
    power, weight = observations.mean_w[part], trust[: part.stop - part.start]
    smears = SMEARS if typical > MATTERS * length and not observations.told else (1.0,)  # what a grid leaves over does smear
    best = (0.0, 1.0)
    for shifts in (np.array(SHIFTS) * shift_u, None):
        tried = shifts if shifts is not None else best[0] + np.linspace(-0.3, 0.3, 7) * shift_u
        costs = {}
        for shift in tried:
            for smear in smears:
                design = columns.filtered(observations, part, float(shift), 0.0, smear)
                costs[float(shift), smear] = _misfit(design, power, weight)
        scale = min(costs.values()) / max(len(power) - len(columns.names), 1)
        best = min(costs, key=lambda key: costs[key] + scale * (key[0] / shift_u) ** 2)
        smears = (best[1],)
        flat = _misfit(np.ones((len(power), 1)), power, weight)
        if states < 2 and min(costs.values()) > (1 - EXPLAINED) * flat:
            return unaligned  # a load that does not begin and end with the window: its own steps would be taken for the window's
    return Alignment(best[0], best[1], shift_u, stamp_u)


def _misfit(design: Floats, power: Floats, weight: Floats) -> float:
    weighted = design * weight[:, None]
    gram, moment = weighted.T @ design, weighted.T @ power
    coefficients = np.linalg.solve(gram + RIDGE * max(float(np.diag(gram).max()), 1e-30) * np.eye(len(gram)), moment)
    return float(weight @ (power - design @ coefficients) ** 2)
