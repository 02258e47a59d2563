"""Parts of one domain (two power supplies, say) see the same fluctuations of power and are shown by one controller: they err together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from tpb_core.energy.figures import Figure
from tpb_core.energy.regression import Fit
from tpb_core.energy.timeline import State

FROM_READINGS = ("sampling", "noise", "edges", "window_edges")
"""Terms that go with what the readings leave unexplained: as correlated between parts as that is."""
FROM_TIMING = ("delay", "stamps", "averaging")
"""Terms of one controller's timing: the same for all its parts."""
LEAST_ROWS = 8


def shared_u_j(parts: Sequence[tuple[dict[State | str, Figure], Fit]], names: Iterable[State | str]) -> dict[State | str, float]:
    """By figure, the standard uncertainty (J) to be added in quadrature to parts summed as if independent.

    u^2 = 2 * sum over pairs of r * sum over terms of u_i u_j, with r the correlation of what their fits leave unexplained (1 for timing).
    """
    variance = dict.fromkeys(names, 0.0)
    for (mine, my_fit), (other, other_fit) in combinations(parts, 2):
        r = _correlation(my_fit, other_fit)
        for name in variance:
            if name in mine and name in other:
                for term in FROM_READINGS + FROM_TIMING:
                    together = _u_j(mine[name], term) * _u_j(other[name], term)
                    variance[name] += 2 * together * (1.0 if term in FROM_TIMING else r)
    return {name: float(np.sqrt(v)) for name, v in variance.items()}


def _u_j(figure: Figure, term: str) -> float:
    return float(np.sqrt(sum(part.du_j**2 for (name, _), part in figure.terms.items() if name == term)))


def _correlation(mine: Fit, other: Fit) -> float:
    """Correlation of two residuals at the times of the first, not below 0, and 1 where too few tell."""
    if min(len(mine.residual_w), len(other.residual_w)) < LEAST_ROWS:
        return 1.0
    theirs = np.interp(mine.middle_s, other.middle_s, other.residual_w)
    if np.ptp(theirs) == 0.0 or np.ptp(mine.residual_w) == 0.0:
        return 1.0
    return max(float(np.corrcoef(mine.residual_w, theirs)[0, 1]), 0.0)
