"""Intervals between runs: Student's t for few repeats, BCa bootstrap from ten on; sums over sums, and paired differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.energy.intervals import CONFIDENCE, coverage_factor

Floats = npt.NDArray[np.float64]

LEAST_RUNS = 2
BOOTSTRAP_FROM = 10
TIMES = 4000


@dataclass(frozen=True)
class Between:
    """An estimate over runs: value, standard uncertainty, degrees of freedom, 95 % limits, and how they were found (`t` or `bca`)."""

    value: float
    u: float
    dof: float
    low: float
    high: float
    kind: str


def mean_of(values: Floats, seed: int = 0) -> Between | None:
    """Mean over runs; None for fewer than two."""
    return _between(values[:, None], lambda rows: rows.mean(axis=-2)[..., 0], seed)


def ratio_of(numerator: Floats, denominator: Floats, seed: int = 0) -> Between | None:
    """Sum over sum, for example joules over tokens; None for fewer than two runs.

    The t interval uses the linearised residuals (numerator - ratio * denominator) / mean denominator.
    """
    rows = np.column_stack([numerator, denominator])
    return _between(rows, lambda sample: sample[..., 0].sum(axis=-1) / sample[..., 1].sum(axis=-1), seed)


def paired_difference(second: Floats, first: Floats, seed: int = 0) -> Between | None:
    """Mean of second - first over pairs."""
    return mean_of(second - first, seed)


def bca(rows: Floats, statistic: Callable[[Floats], Floats], times: int, rng: np.random.Generator) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap limits (Efron 1987). `statistic` maps (..., n, columns) to (...)."""
    from scipy import special

    n = len(rows)
    estimate = float(statistic(rows))
    drawn = statistic(rows[rng.integers(0, n, (times, n))])
    below = float(np.clip(np.mean(drawn < estimate) + 0.5 * np.mean(drawn == estimate), 0.5 / times, 1 - 0.5 / times))
    bias = float(special.ndtri(below))
    left_out = np.array([float(statistic(np.delete(rows, k, axis=0))) for k in range(n)])
    centred = left_out.mean() - left_out
    spread = float((centred**2).sum())
    acceleration = float((centred**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0
    limits = []
    for z in (special.ndtri(0.5 - CONFIDENCE / 2), special.ndtri(0.5 + CONFIDENCE / 2)):
        moved = bias + (bias + z) / (1 - acceleration * (bias + z))
        limits.append(float(np.quantile(drawn, float(special.ndtr(moved)))))
    return limits[0], limits[1]


def _between(rows: Floats, statistic: Callable[[Floats], Floats], seed: int) -> Between | None:
    n = len(rows)
    if n < LEAST_RUNS:
        return None
    value = float(statistic(rows))
    if rows.shape[1] == 1:
        residual = rows[:, 0] - value
    else:
        residual = (rows[:, 0] - value * rows[:, 1]) / rows[:, 1].mean()
    u = float(np.sqrt((residual**2).sum() / (n - 1) / n))
    if n >= BOOTSTRAP_FROM and u > 0:
        low, high = bca(rows, statistic, TIMES, np.random.default_rng(seed))
        return Between(value, u, n - 1.0, low, high, "bca")
    half = coverage_factor(n - 1.0) * u
    return Between(value, u, n - 1.0, value - half, value + half, "t")
