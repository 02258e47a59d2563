"""Counters: wraps are undone, resets and doubtful rises are holes, an unread counter has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpb_core.energy.counters import change_edges, unwrap
from tpb_core.energy.refresh_grid import in_step, in_turns


def test_a_fall_within_plausible_power_is_one_wrap() -> None:
    result = unwrap(np.array([0.0, 1.0, 2.0]), np.array([900.0, 990.0, 80.0]), wrap_j=1000.0, max_power_w=200.0)
    assert result.energy_j.tolist() == [0.0, 90.0, 180.0]
    assert result.wraps.tolist() == [2]
    assert not result.hole.any()


def test_a_fall_that_a_wrap_cannot_explain_is_a_reset_and_a_hole() -> None:
    result = unwrap(np.array([0.0, 1.0, 2.0, 3.0]), np.array([500.0, 600.0, 10.0, 110.0]), wrap_j=1000.0, max_power_w=200.0)
    assert result.resets.tolist() == [2]
    assert result.hole.tolist() == [False, True, False]
    assert result.energy_j.tolist() == [0.0, 100.0, 100.0, 200.0]


@pytest.mark.parametrize("wrap_j", [0.0, None])
def test_a_counter_that_never_wraps_can_only_be_reset(wrap_j: float | None) -> None:
    result = unwrap(np.array([0.0, 1.0]), np.array([990.0, 10.0]), wrap_j=wrap_j, max_power_w=200.0)
    assert result.hole.tolist() == [True]


def test_a_counter_that_went_unread_but_kept_counting_has_no_hole() -> None:
    result = unwrap(np.array([0.0, 1.0, 61.0, 62.0]), np.array([0.0, 100.0, 6100.0, 6200.0]), wrap_j=1e6, max_power_w=300.0)
    assert not result.hole.any()
    assert result.energy_j[-1] == 6200.0


def test_a_gap_in_which_a_further_wrap_fits_is_a_hole() -> None:
    result = unwrap(np.array([0.0, 1.0, 20.0]), np.array([0.0, 100.0, 600.0]), wrap_j=1000.0, max_power_w=200.0)
    assert result.ambiguous.tolist() == [2]
    assert result.hole.tolist() == [False, True]


def test_without_a_stated_maximum_the_power_seen_decides() -> None:
    t = np.arange(5.0)
    assert unwrap(t, np.array([0.0, 100.0, 200.0, 300.0, 390.0]) % 350, wrap_j=350.0, max_power_w=None).wraps.tolist() == [4]
    assert unwrap(t, np.array([0.0, 100.0, 200.0, 300.0, 5.0]), wrap_j=1e6, max_power_w=None).resets.tolist() == [4]


@settings(max_examples=60, deadline=None)
@given(
    increments=st.lists(st.floats(0, 199), min_size=1, max_size=60),
    start=st.floats(0, 999),
)
def test_any_counter_below_its_maximum_power_is_restored(increments: list[float], start: float) -> None:
    truth = np.concatenate([[0.0], np.cumsum(increments)])
    raw = np.mod(start + truth, 1000.0)
    result = unwrap(np.arange(len(truth), dtype=float), raw, wrap_j=1000.0, max_power_w=200.0)
    assert not result.hole.any()
    np.testing.assert_allclose(result.energy_j, truth, atol=1e-6)


def test_change_edges_are_the_reads_that_saw_a_change() -> None:
    energy = np.array([0.0, 0.0, 5.0, 5.0, 5.0, 9.0])
    assert change_edges(np.arange(6.0), energy, np.zeros(5, np.bool_)).tolist() == [0, 2, 5]


def read_in_step(offset_s: float, period_s: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads each 100 ms, up to 1 ms late, of a counter at 300 W, later 500 W: their times, what they show, and since when it did."""
    rng = np.random.default_rng(0)
    refresh_s = offset_s + period_s * np.arange(-2, 420) + rng.normal(0, 0.0003, 422)
    joules = 300.0 * refresh_s + 200.0 * np.maximum(refresh_s - 20.0, 0.0)
    read_s = 0.1 * np.arange(400) + rng.uniform(0, 0.001, 400)
    shown = np.searchsorted(refresh_s, read_s) - 1
    return read_s, joules[shown], refresh_s[shown]


def test_reads_that_see_or_just_miss_a_refresh_are_told_apart() -> None:
    read_s, joules, since_s = read_in_step(0.0005)
    stamps = in_turns(read_s, joules, 0.1)
    assert stamps is not None
    assert (np.diff(joules) == 0).sum() > 50
    wrong = np.abs(stamps - since_s - np.median(stamps - since_s)) > 0.01
    assert wrong.mean() < 0.02
    assert np.std((stamps - since_s)[~wrong]) < 1e-3


@pytest.mark.parametrize(("offset_s", "period_s"), [(0.04, 0.1), (0.0005, 0.101)], ids=["never_at_the_same_moment", "at_another_rate"])
def test_reads_that_do_not_take_turns_are_left_alone(offset_s: float, period_s: float) -> None:
    read_s, joules, _ = read_in_step(offset_s, period_s)
    assert in_turns(read_s, joules, period_s) is None
    assert (in_step(read_s, period_s) is None) == (period_s != 0.1)
