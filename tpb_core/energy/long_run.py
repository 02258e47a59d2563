"""How much variance a fluctuating power adds to energies of ever longer stretches, told from what uncertain stamps only move about."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LONGER = 4
MOST_BLOCKS_SHARE = 8
LEAST_SHARE = 0.02
LEAST_LEFT = 0.5


def long_run_variance(energy_j: Floats, cell_s: float, block: int, unknowns: int = 0) -> float:
    """Variance in J^2 that one second adds, from unexplained energies of cells of `cell_s` seconds.

    An uncertain stamp takes energy from one cell and gives it to the next: it adds the same variance to a sum over few cells as to one
    over many, at its two ends. So the variance of sums over `block` cells is taken off that of sums over four times as many, and what is
    left belongs to the longer time. At least 2 % of the whole, because the difference of two estimates may be anything.
    `unknowns` were fitted to the same cells.
    """
    n = len(energy_j)
    short = min(block, max(n // (LONGER * MOST_BLOCKS_SHARE), 1))
    if n < 2 * LONGER * short:
        return float(np.mean(energy_j**2)) / cell_s / left_by_fit(n, unknowns) if n else 0.0
    total = np.concatenate([[0.0], np.cumsum(energy_j)])
    squares = [float(np.mean((total[size:] - total[:-size]) ** 2)) for size in (short, LONGER * short)]
    grown = (squares[1] - squares[0]) / ((LONGER - 1) * short * cell_s)
    return max(grown, LEAST_SHARE * squares[1] / (LONGER * short * cell_s)) / left_by_fit(n / (LONGER * short), unknowns)


def left_by_fit(stretches: float, unknowns: int) -> float:
    """Share of the variance between so many stretches that is left after a fit: about half of the unknowns vary that slowly."""
    return max(1.0 - unknowns / 2 / max(stretches, 1.0), LEAST_LEFT)
