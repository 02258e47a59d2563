"""What is drawn of readings: nothing invented, extremes kept, counters undone; axes and bands by their arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api.attributor import Series
from tpb_core.api.channel import Channel
from tpb_core.report.page.axis import Axis, axis_of
from tpb_core.report.page.phase_bands import PhaseBands
from tpb_core.report.page.series import BINS, points_of, steps_of

COUNTER = Channel("c", "d", "gpu", "energy_counter", "J", "measured", wrap=1000.0, max_power_w=500.0)


def series(t_s: list[float] | np.ndarray, value: list[float] | np.ndarray) -> Series:
    t_ns = np.round(np.asarray(t_s, np.float64) * 1e9).astype(np.int64)
    return Series(t_ns, np.zeros(len(t_ns), np.int64), np.asarray(value, np.float64))


def test_few_readings_are_drawn_as_they_are() -> None:
    points = points_of(series([0.0, 1.0, 2.0, 9.0], [5.0, np.nan, 7.0, 8.0]), 0, 0.0, 3.0)
    assert points.read == 2
    assert points.t_s.tolist() == [0.0, 2.0] and points.w.tolist() == [5.0, 7.0]


@given(st.integers(4 * BINS + 1, 6 * BINS), st.integers(0, 2**32 - 1))
def test_many_readings_are_thinned_to_real_ones_with_their_extremes(count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    t_s, w = np.sort(draw.uniform(0, 100, count)), draw.normal(300, 50, count)
    t_s = np.unique(np.round(t_s, 6))
    w = w[: len(t_s)]
    points = points_of(series(t_s, w), 0, 0.0, 100.0)
    assert points.read == len(t_s) and len(points.t_s) <= 4 * BINS
    assert set(points.w.tolist()) <= set(w.tolist())
    assert points.w.max() == w.max() and points.w.min() == w.min()


def test_counters_become_power_between_their_changes() -> None:
    steps = steps_of(series([0, 1, 2, 3, 4], [900, 950, 950, 10, 110]), COUNTER, 0, 0.0, 4.0)
    assert steps.begin_s.tolist() == [0, 1, 3] and steps.end_s.tolist() == [1, 3, 4]
    assert steps.w.tolist() == [50.0, 30.0, 100.0]  # one wrap: 950 to 1000, then 10


def test_a_reset_leaves_a_hole() -> None:
    steps = steps_of(
        series([0, 1, 2, 3], [500, 600, 0, 100]), Channel("c", "d", "gpu", "energy_counter", "J", "measured", wrap=0.0), 0, 0.0, 3.0
    )
    assert steps.begin_s.tolist() == [0, 2] and steps.w.tolist() == [100.0, 100.0]


def test_joined_steps_keep_the_energy() -> None:
    t_s = np.arange(0, 1000, 0.1)
    watts = 100 + 50 * np.sin(t_s)
    energy = np.concatenate([[0.0], np.cumsum(watts[1:] * 0.1)])
    counter = Channel("c", "d", "gpu", "energy_counter", "J", "measured", wrap=0.0, max_power_w=500.0)
    steps = steps_of(series(t_s, energy), counter, 0, 0.0, 1000.0)
    assert len(steps.w) <= BINS < steps.changes
    drawn = float((steps.w * (steps.end_s - steps.begin_s)).sum())
    covered = np.interp([steps.begin_s[0], steps.end_s[-1]], t_s, energy)
    assert drawn == pytest.approx(covered[1] - covered[0])


def test_a_change_seen_too_soon_is_no_spike() -> None:
    """The last read comes 10 ms after the counter's last refresh was seen: 10 J in 10 ms would look like 1 kW."""
    channel = Channel("c", "d", "gpu", "energy_counter", "J", "measured", wrap=0.0, update_ms=100.0)
    steps = steps_of(series([0.0, 0.1, 0.2, 0.21], [0, 10, 20, 30]), channel, 0, 0.0, 1.0)
    assert steps.w.max() == pytest.approx(100.0)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 12))
def test_ticks_are_round_and_within(low: float, length: float, most: int) -> None:
    axis = Axis(low, low + length, 0.0, 100.0)
    ticks = axis.ticks(most)
    assert 1 <= len(ticks) <= most + 1
    assert all(low - 1e-6 * length <= tick <= low + length * (1 + 1e-6) for tick in ticks)
    assert len({text for _, text in axis.labels(most)}) == len(ticks)


def test_axes_map_and_take_zero_in() -> None:
    axis = axis_of(20.0, 80.0, 100.0, 0.0, from_zero=True, margin=0.0)
    assert (axis.low, axis.high) == (0.0, 80.0)
    assert (axis.at(0.0), axis.at(40.0), axis.at(80.0)) == (100.0, 50.0, 0.0)
    logarithmic = Axis(0.5, 50.0, 0.0, 2.0, logarithmic=True)
    assert logarithmic.at(5.0) == pytest.approx(1.0)
    assert logarithmic.ticks() == [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]


def test_bands_share_out_time() -> None:
    """Prefill from 0 to 1, decode from 1 to 3, both from 3 to 3.5, nothing until 4: in two parts of two seconds."""
    bands = PhaseBands(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 3.5]), np.array([0, 2, 2, 1], np.int8))
    shares = bands.shares(0.0, 4.0, 2)
    assert {kind: share.tolist() for kind, share in shares.items()} == {
        "prefill": [0.5, 0.0],
        "decode": [0.5, 0.5],
        "mixed": [0.0, 0.25],
        "idle": [0.0, 0.25],
    }
    begin, end = bands.spans("decode", 0.0, 2.5)
    assert (begin.tolist(), end.tolist()) == ([1.0], [2.5])  # touching steps are one stretch
