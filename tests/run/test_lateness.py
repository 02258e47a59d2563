"""The histogram of delays against exact quantiles."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tpb_core.run.lateness import Lateness


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantiles_are_upper_bounds_within_a_bin(late_ns: list[int], share: float) -> None:
    histogram = Lateness()
    for value in late_ns:
        histogram.add(value)
    exact_ms = sorted(late_ns)[math.ceil(share * len(late_ns)) - 1] / 1e6
    got_ms = histogram.quantile_ms(share)
    assert got_ms is not None
    assert exact_ms <= got_ms * 1.000001 or got_ms == max(late_ns) / 1e6
    assert got_ms <= max(exact_ms * 1.26, 0.001)


def test_no_readings_no_figure() -> None:
    assert Lateness().quantile_ms(0.99) is None
