"""Intervals: from a standard uncertainty and its degrees of freedom to 95 %."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

CONFIDENCE = 0.95
MANY = 1e6
"""From here on degrees of freedom are as good as infinite."""


@lru_cache(maxsize=4096)
def coverage_factor(dof: float | None, confidence: float = CONFIDENCE) -> float:
    """The factor k by which a standard uncertainty is multiplied: Student's t for `dof`, the normal quantile for None."""
    from scipy import special

    probability = 0.5 + confidence / 2
    if dof is None or dof >= MANY:
        return float(special.ndtri(probability))
    return float(special.stdtrit(max(dof, 1.0), probability))


def effective_dof(contributions: Iterable[tuple[float, float | None]]) -> float | None:
    """Welch-Satterthwaite: degrees of freedom of a sum of independent contributions `(u, dof)`; None where they are many.

    nu = u^4 / sum(u_i^4 / nu_i); contributions with None have infinitely many (JCGM 100, G.4).
    """
    total, weighted = 0.0, 0.0
    largest = 0.0
    rows = [(abs(u), dof) for u, dof in contributions]
    largest = max((u for u, _ in rows), default=0.0)
    if largest == 0.0:
        return None
    for u, dof in rows:
        scaled = u / largest
        total += scaled**2
        if dof is not None:
            weighted += scaled**4 / dof
    if weighted == 0.0:
        return None
    nu = total**2 / weighted
    return nu if nu < MANY else None


def interval(value: float, u: float, dof: float | None, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """`value` minus and plus k·u."""
    half = coverage_factor(round(dof, 3) if dof is not None and math.isfinite(dof) else None, confidence) * u
    return value - half, value + half


def positive_part(estimate: float, error: float) -> tuple[float, float]:
    """Mean and standard deviation of what cannot be negative and was estimated with a normal `error`: the normal distribution cut at 0."""
    from scipy import special

    if error <= 0:
        return max(estimate, 0.0), 0.0
    z = estimate / error
    hazard = math.exp(-0.5 * z * z - 0.5 * math.log(2 * math.pi) - float(special.log_ndtr(z)))
    variance = max(1.0 - hazard * (z + hazard), 0.0)
    return max(estimate + error * hazard, 0.0), error * math.sqrt(variance)
