"""Coefficients drawn as sure as they are, none of them negative: against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tpb_core.energy.blocks import blocks_of


def test_draws_are_a_normal_distribution_cut_at_zero() -> None:
    """Two columns that never occur together, one costing 0.5 and one nothing: the second's distribution is cut near its middle.

    With noise s and n rows each, a coefficient of ones has the standard error s / sqrt(n).
    """
    rng = np.random.default_rng(3)
    n, noise = 2000, 4.0
    design = np.repeat(np.eye(2), n, axis=0)[rng.permutation(2 * n)]
    values = design @ np.array([0.5, 0.0]) + noise * rng.normal(size=2 * n)
    blocks = blocks_of(design, values, np.ones(2 * n), 10)
    drawn = blocks.drawn(4000, rng)
    assert (drawn >= 0).all()
    standard_error = noise / np.sqrt(n)
    for k in range(2):
        centre = float(values[design[:, k] > 0].mean())
        cut = stats.truncnorm(-centre / standard_error, np.inf, centre, standard_error)
        assert drawn[:, k].mean() == pytest.approx(cut.mean(), rel=0.08)
        assert drawn[:, k].std() == pytest.approx(cut.std(), rel=0.10)


def test_draws_keep_what_two_coefficients_cost_together() -> None:
    """Columns that hardly differ: each is uncertain, their sum is not."""
    rng = np.random.default_rng(4)
    first = rng.uniform(1, 2, 3000)
    design = np.column_stack([first, first + 0.01 * rng.normal(size=3000)])
    values = design @ np.array([3.0, 2.0]) + 0.1 * rng.normal(size=3000)
    drawn = blocks_of(design, values, np.ones(3000), 10).drawn(2000, rng)
    assert drawn.sum(axis=1).mean() == pytest.approx(5.0, abs=0.01)
    assert drawn.sum(axis=1).std() < 0.01
    # the second coefficient is told by its own column alone, 0.01 wide: noise over 0.01 * sqrt(n); the first makes up for it
    assert drawn[:, 0].std() == pytest.approx(0.1 / (0.01 * np.sqrt(3000)), rel=0.15)
