"""How much of the variance between long stretches a fit leaves."""

from __future__ import annotations

LEAST_LEFT = 0.5


def left_by_fit(stretches: float, unknowns: int) -> float:
    """Share of the variance between so many stretches that is left after a fit: about half of the unknowns vary that slowly."""
    return max(1.0 - unknowns / 2 / max(stretches, 1.0), LEAST_LEFT)
