"""Requests in simulated worlds: how far they are off, and whether their intervals know it."""

from __future__ import annotations

import pytest

from tpb_sim.coverage import study


@pytest.mark.parametrize(
    ("world", "attributor", "method", "rmse"),
    [
        ("static_batch", "windowed", "windowed", 0.004),
        ("long_context", "steps", "steps/shapley", 0.008),
        ("preemption", "steps", "steps/shapley", 0.012),
    ],
)
def test_requests_are_right_within_their_intervals(world: str, attributor: str, method: str, rmse: float) -> None:
    rows = study(world, [attributor], range(12))
    row = next(row for row in rows if (row.method, row.figure) == (method, "request"))
    assert abs(row.bias) < 1e-3
    assert row.rmse < rmse
    assert row.within > 0.88
    assert row.width < 0.10
