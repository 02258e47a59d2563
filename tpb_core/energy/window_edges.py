"""Edges of a window inside cells: how such a cell is divided, how uncertain that is, and with how many degrees of freedom it is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.energy.block_differences import A_DIFFERENCE
from tpb_core.energy.columns import Columns
from tpb_core.energy.intervals import effective_dof
from tpb_core.energy.observations import Observations
from tpb_core.energy.timeline import State

Floats = npt.NDArray[np.float64]

NEAR = 10
"""Cells on each side of an edge from which the scatter of power there is told."""
LEAST_DIFFERENCES = 3
"""Fewer pairs of neighbouring cells inside a window do not tell how its power scatters: all power around it is taken, steps and all."""
LEAST_LEFT = 0.1
"""Share of the scatter of increments that is power's in any case: what stamps add to it is itself an estimate."""
WHOLLY = 0.999
"""Share of a cell in one state from which on it shows the power of that state alone."""
NEIGHBOURS = 2
LEAST_WIDTH_S = 1e-3


@dataclass(frozen=True)
class Division:
    """The two divided increments (`cells`: rows) of a window, and what of each row counts as the window's (`taken_s`, seconds by row).

    `variance_j2` is what that leaves uncertain, known with `dof`; uncertain stamps are not in it.
    """

    cells: tuple[int, int]
    taken_s: Floats
    variance_j2: float
    dof: float | None


@dataclass(frozen=True)
class Seen:
    """What a fit leaves of n increments (`residual`) and their `power`, watts; which are `good`; uncertainty of n + 1 stamps, seconds."""

    residual: Floats
    power: Floats
    good: npt.NDArray[np.bool_]
    stamp_u_s: Floats

    def scatter(self, start: int, stop: int, values: Floats, length_s: Floats) -> tuple[float, float]:
        """Half the mean squared difference of neighbours among `values` (W^2) of some rows, and its degrees of freedom.

        That is their variance if power scatters faster than cells follow one another, less if slower. A stamp uncertain by u moves P u
        from one increment to the next, which adds three times (P u / L)^2 and is no scatter of power: it is
        taken off residuals, not off power itself.
        """
        rows = np.flatnonzero(self.good[max(start, 0) : max(stop, 0)]) + max(start, 0)
        if len(rows) < 2:
            return 0.0, 1.0
        half = float(np.mean(np.diff(values[rows]) ** 2)) / 2
        moved = float(np.mean((self.power[rows] * self.stamp_u_s[rows + 1] / np.maximum(length_s[rows], 1e-12)) ** 2))
        half = half if values is self.power else max(half - 3 * moved, LEAST_LEFT * half)
        return half, max(A_DIFFERENCE * (len(rows) - 1), 1.0)


def divide_increments(observations: Observations, rows: slice, seen: Seen, columns: Columns, design: Floats, shift_s: float) -> Division:
    """Divide the increments at the edges of the window of `columns` by how power scatters on either side.

    Of a cell of length L, a seconds lie in the window and b outside. What the model does not explain of the whole cell is seen. Its parts
    have variances L a v_in and L b v_out and share in it by these (the conditional mean of a part, given the sum), so that

        taken / L = r = a v_in / (a v_in + b v_out)

    Beside a device at rest, nearly all that was not foreseen happened in the window. With equal scatter, time divides. A step of c seconds
    across the edge, c_in of them inside, errs on both sides together, which leaves

        u^2 = L ((a - c_in) v_in (1 - r)^2 + (b - c_out) v_out r^2 + c v_in (c_in / c - r)^2)

    v is the scatter of neighbouring cells (`Seen.scatter`); what lies outside in states that the window has too scatters as they do.
    `design` (n x columns) is the share of each cell in each column; `shift_s`: readings are later than stated.
    """
    cell_lo, cell_hi = observations.cell_lo_s[rows] - shift_s, observations.cell_hi_s[rows] - shift_s
    length_s = cell_hi - cell_lo
    edges_s = (columns.t0_s, columns.t1_s)
    taken = observations.overlap_s(columns.t0_s + shift_s, columns.t1_s + shift_s, rows)
    first, last = (int(np.clip(np.searchsorted(cell_hi, t_s, "right"), 0, len(cell_lo) - 1)) for t_s in edges_s)
    busy = [name[0] == "in" and name[1] != State.IDLE for name in columns.names]
    # Some steps are longer than others, and few of them lie near an edge: what scatters anywhere in the window may lie across its edge.
    few = int(seen.good[first + 1 : last].sum()) <= LEAST_DIFFERENCES
    whole = (first - NEAR, last + 1 + NEAR, seen.power) if few else (first + 1, last, seen.residual)
    v_in, dof_in = seen.scatter(*whole, length_s)
    uncertain, variances = [], []
    for k, t_s, start, stop in ((first, edges_s[0], first - NEAR, first), (last, edges_s[1], last + 1, last + 1 + NEAR)):
        length, a = float(length_s[k]), float(taken[k])
        far_s = float(cell_lo[k] if k == first else cell_hi[k])
        # Where no steps are known, a stretch that happens to be even is no sign that the device rested: any load may lie there.
        alike = (
            min(float(np.abs(np.diff(columns.until(np.array([far_s, t_s])), axis=0)[0][busy]).sum()) / max(abs(t_s - far_s), 1e-9), 1.0)
            if any(busy)
            else 1.0
        )
        unknown = few or int(seen.good[max(start, 0) : stop].sum()) < 2
        v_own, dof_out = (v_in, dof_in) if unknown else seen.scatter(start, stop, seen.residual, length_s)
        v_out = alike * v_in + (1 - alike) * v_own
        variances.append(v_out)
        ours, theirs = a * v_in, (length - a) * v_out
        if not seen.good[k] or ours + theirs <= 0:
            continue
        r = ours / (ours + theirs)
        before_s, after_s = columns.across_s(t_s)
        across = (min(before_s, t_s - float(cell_lo[k])), min(after_s, float(cell_hi[k]) - t_s))
        c_out, c_in = across if k == first else across[::-1]
        c = max(c_out + c_in, 1e-12)
        within = length * v_in * (max(a - c_in, 0.0) * (1 - r) ** 2 + c * (c_in / c - r) ** 2)
        without = length * v_out * max(length - a - c_out, 0.0) * r**2
        uncertain += [(float(np.sqrt(within)), dof_in), (float(np.sqrt(without)), dof_in if alike > 0.5 else dof_out)]
        taken[k] = r * length
    outside = design[:, [name[0] in ("before", "after") for name in columns.names]]
    level_j2 = 0.0 if few else _levelled(taken, outside, seen.good, (first, last), variances)
    return Division((first, last), taken, sum(u**2 for u, _ in uncertain) + level_j2, effective_dof(uncertain))


def power_at_stamps(
    observations: Observations, rows: slice, seen: Seen, columns: Columns, powers: Floats, shift_s: float, division: Division
) -> Floats:
    """Power at the n + 1 stamps of increments, watts: at those of divided ones what the fit says of the time within which they lie.

    A state may begin within such an increment, so that its mean and its neighbour's are not the power at its stamps.
    """
    stamp_w = beside(seen.power)
    lo, hi = observations.cell_lo_s[rows] - shift_s, observations.cell_hi_s[rows] - shift_s
    for stamp in {k + side for k in division.cells for side in (0, 1)}:
        t_s = float(lo[0] if stamp == 0 else hi[stamp - 1])
        wide_s = max(float(observations.jitter_hi_s[rows][max(stamp - 1, 0)]), LEAST_WIDTH_S)
        stamp_w[stamp] = float(np.diff(columns.until(t_s + np.array([-0.5, 0.5]) * wide_s) @ powers)[0]) / wide_s
    return stamp_w


def beside(power: Floats) -> Floats:
    """Mean power of the increments on either side of each of their n + 1 stamps."""
    return np.asarray((np.concatenate([power[:1], power]) + np.concatenate([power, power[-1:]])) / 2)


def _levelled(taken: Floats, outside: Floats, good: npt.NDArray[np.bool_], cells: tuple[int, int], variances: list[float]) -> float:
    """Read levels outside a window from cells wholly there (changes `taken`); the variance (J^2) that this adds.

    What is foreseen beyond an edge is a fitted level times its seconds. The fit also sees the divided cell, and where the model is wrong
    about the window's part of that, it pulls the level. So the mean of what is left in the cells beside it is put back: u^2 = T^2 v / n.
    """
    seconds = outside.T @ taken
    variance = 0.0
    for j in range(outside.shape[1]):
        wholly = np.flatnonzero((outside[:, j] > WHOLLY) & good)
        wholly = wholly[(wholly < cells[0]) | (wholly > cells[1])]
        if len(wholly) >= 2:
            taken[wholly] -= seconds[j] / len(wholly)
            variance += float(seconds[j]) ** 2 * variances[int(wholly[0] > cells[1])] / len(wholly)
    return variance


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
