"""Scatter of steps beside what else readings scatter by, where a sensor does not always look: parts of a variance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.energy.block_differences import A_DIFFERENCE, Differences

Floats = npt.NDArray[np.float64]

LEAST_DIFFERENCES = 6
OUTLYING = 3.0
"""In standard deviations: what lies farther out is none of these parts."""
WITHIN_OUTLYING = 0.9733
"""Mean square of a normal variable that lies within `OUTLYING` standard deviations, relative to its variance."""
MEDIAN_SQUARE = 0.4549
"""Median of the square of a normal variable, relative to its variance."""
ROUNDS = 20


def scatter_beside(found: Differences, noise_j2: float) -> tuple[float, float]:
    """Variance of steps relative to what is expected of all of it, and its standard error.

    A squared difference is the square of a normal variable with the variance E = v M + k Q + N: v is sought, M expected, Q in proportion to
    what the difference would have changed had readings looked elsewhere, and N is `noise_j2`. Its own variance is
    2 E^2, so weights are 1 / E^2, found anew in each round; what lies far out is left out.
    """
    told = np.flatnonzero(found.expected > 0)
    if len(told) < LEAST_DIFFERENCES:
        return found.ratio, found.ratio * float(np.sqrt(2 / found.dof))
    squared, parts = found.squared[told], np.column_stack([found.expected, found.elsewhere])[told]
    scale = np.maximum(parts.mean(axis=0), 1e-300)
    known = 2 if found.elsewhere[told].any() else 1
    parts, scale = parts[:, :known] / scale[:known], scale[:known]
    first = max(float(np.median((squared / MEDIAN_SQUARE - noise_j2) / parts[:, 0])), 0.0)
    variance = np.array([first, *scale[1:]])
    least = 1e-3 * float(np.median(squared)) + 1e-300
    normal = np.eye(len(variance))
    for _ in range(ROUNDS):
        expected = np.maximum(parts @ np.maximum(variance, 0.0) + noise_j2, least)
        kept = squared <= OUTLYING**2 * expected
        weighted = parts[kept] / expected[kept, None] ** 2
        normal = weighted.T @ parts[kept]
        normal += 1e-12 * np.diag(np.diag(normal)) + 1e-300 * np.eye(len(normal))
        variance = np.linalg.solve(normal, weighted.T @ (squared[kept] / WITHIN_OUTLYING - noise_j2))
        if len(variance) > 1 and variance[1] < 0:
            variance = np.array([float(weighted[:, 0] @ (squared[kept] / WITHIN_OUTLYING - noise_j2)) / normal[0, 0], 0.0])
    error = np.sqrt(2 / A_DIFFERENCE * np.linalg.inv(normal)[0, 0])
    return float(variance[0] / scale[0]), float(error / scale[0])
