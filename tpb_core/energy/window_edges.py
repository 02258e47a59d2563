"""Edges of a window inside cells: how uncertain the division of those cells is, and with how many degrees of freedom that is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.energy.intervals import effective_dof
from tpb_core.energy.observations import Observations

Floats = npt.NDArray[np.float64]

NEAR = 10
"""Cells on each side of an edge from which the scatter of power there is told."""
LEAST_DIFFERENCES = 3
"""Fewer pairs of neighbouring cells inside a window do not tell how its power scatters: all power around it is taken, steps and all."""
A_DIFFERENCE = 2 / 3
"""Degrees of freedom for each difference of neighbours, which overlap."""
NEIGHBOURS = 2


def increments_divided(
    observations: Observations, rows: slice, residual: Floats, power: Floats, stamp_u_s: Floats, window_s: tuple[float, float]
) -> tuple[float, float | None]:
    """Variance (J^2) that dividing the two increments at the edges of a window adds, and its degrees of freedom.

    An edge leaves the share s of a cell of length L before it. Of the energy that the model does not explain, s of what came after and
    1 - s of what came before go to the wrong side: u^2 = L^2 s (1 - s) ((1 - s) v_before + s v_after), where v is half the mean squared
    difference of neighbouring cells on that side (their variance if power scatters faster than cells follow one another, less if slower).
    Stamps next to an edge count fully: no neighbour makes up for them. `residual` and `power`: watts by row; `stamp_u_s`: seconds by edge.
    """
    cell_lo, cell_hi = observations.cell_lo_s[rows], observations.cell_hi_s[rows]
    first, last = (int(np.clip(np.searchsorted(cell_hi, t_s, "right"), 0, len(cell_lo) - 1)) for t_s in window_s)
    inside = residual[first + 1 : last]
    before, after = residual[max(first - NEAR, 0) : first], residual[last + 1 : last + 1 + NEAR]
    if len(inside) <= LEAST_DIFFERENCES:
        before = inside = after = power[max(first - NEAR, 0) : last + 1 + NEAR]
    # Some steps are longer than others, and few of them lie near an edge: what scatters anywhere in the window may lie across its edge.
    usual = _scatter(inside)
    sides = [_scatter(before), max(_scatter(inside[:NEAR]), usual), max(_scatter(inside[-NEAR:]), usual), _scatter(after)]
    factors = []
    stamps = 0.0
    for k, t_s in zip((first, last), window_s, strict=True):
        length = float(cell_hi[k] - cell_lo[k])
        share = float(np.clip((t_s - cell_lo[k]) / max(length, 1e-12), 0.0, 1.0))
        factors += [length**2 * share * (1 - share) * part for part in (1 - share, share)]
        stamps += (float(power[k]) * float(stamp_u_s[k + 1])) ** 2
    parts = [factor * v for factor, (v, _) in zip(factors, sides, strict=True)]
    middle = (parts[1] + parts[2], min(sides[1][1], sides[2][1]))
    known = [(np.sqrt(v), dof) for v, dof in ((parts[0], sides[0][1]), middle, (parts[3], sides[3][1]))]
    return sum(parts) + stamps, effective_dof([*known, (float(np.sqrt(stamps)), None)])


def readings_divided(observations: Observations, rows: slice, residual: Floats, window_s: tuple[float, float]) -> float:
    """Variance (J^2) that readings next to the edges of a window add: how much power that the model does not explain changes there."""
    variance = 0.0
    cell_lo, cell_hi = observations.cell_lo_s[rows], observations.cell_hi_s[rows]
    for t_s in window_s:
        k = int(np.clip(np.searchsorted(cell_hi, t_s, "right"), 0, len(cell_lo) - 1))
        length = float(cell_hi[k] - cell_lo[k])
        share = float(np.clip((t_s - cell_lo[k]) / max(length, 1e-12), 0.0, 1.0))
        near = residual[max(k - NEIGHBOURS, 0) : k + NEIGHBOURS + 1]
        variance += ((length * share * (1 - share) + observations.averaging_s / 8) * float(np.ptp(near))) ** 2 / 3
    return variance


def _scatter(power: Floats) -> tuple[float, float]:
    """Half the mean squared difference of neighbours (W^2), and its degrees of freedom."""
    if len(power) < 2:
        return 0.0, 1.0
    return float(np.mean(np.diff(power) ** 2)) / 2, max(A_DIFFERENCE * (len(power) - 1), 1.0)
