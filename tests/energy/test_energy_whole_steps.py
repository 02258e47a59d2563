"""Fluctuations of whole steps, and uncertain stamps told from them: figures worked out by hand and by drawing."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_core.energy.columns import Columns
from tpb_core.energy.covariance import stamp_noise
from tpb_core.energy.observations import from_counter
from tpb_core.energy.timeline import State, Timeline
from tpb_core.energy.whole_steps import neighbours, whole_steps


def test_readings_that_share_a_step_make_up_for_each_other() -> None:
    """Prefill from 0 to 1.5 s and decode to 3 s, 100 W each, three increments of a second.

    Weights (1.2, 0.6, 0) give prefill's own fluctuation back whole, (1.2 + 0.3) / 1.5 = 1, and a fifth of decode's, 0.3 / 1.5; readings
    cut by time would say (0.2 + 0.05) / 1.5 = 1/6 and 0.05 / 1.5 = 1/30. Of two steps, each with 2/3 in one reading and 1/3 in the
    middle one, sum of products of neighbours over sum of squares is (2/9 + 2/9) / (10/9).
    """
    timeline = Timeline(np.array([0.0, 1.5, 3.0]), np.array([State.PREFILL, State.DECODE], np.int8), np.ones(2, np.int32))
    columns = Columns(timeline, 0.0, 3.0, (-1.0, 4.0))
    read_s = np.array([0.0, 1.0, 2.0, 3.0])
    counter, _ = from_counter(read_s, 100.0 * read_s, np.zeros(4), wrap_j=0.0, max_power_w=None, update_s=None, delay_s=0.0)
    shift_s = float(counter.lo_s[0])
    names = [state for side, state in columns.names if side == "in"]
    assert names == [State.IDLE, State.PREFILL, State.DECODE] or names == [State.PREFILL, State.DECODE]
    prefill = 1 + names.index(State.PREFILL)
    weights, ideal = np.zeros((3, 1 + len(names))), np.zeros((3, 1 + len(names)))
    weights[:, prefill], ideal[:, prefill] = [1.2, 0.6, 0.0], [1.0, 0.5, 0.0]
    powers_w = np.full(len(columns.names), 100.0)
    factors = whole_steps(columns, counter, slice(0, 3), weights, ideal, powers_w, shift_s)
    assert factors[prefill] == pytest.approx(0.2 / np.hypot(1 / 6, 1 / 30))
    assert factors[0] == 1.0
    assert neighbours(columns, counter, slice(0, 3), powers_w, shift_s) == pytest.approx(0.4)


def test_uncertain_stamps_are_told_from_steps_that_fluctuate() -> None:
    """Increments of 0.1 s at 300 W whose steps go together (0.4 from one increment to the next) and whose stamps err by 3 ms."""
    rng = np.random.default_rng(1)
    n, length_s, power_w, stamp_u_s = 20_000, 0.1, 300.0, 3e-3
    fresh = rng.normal(size=n + 1)
    steps_j = 1.5 * (fresh[1:] + 0.5 * fresh[:-1]) / np.sqrt(1.25)  # neighbours: 0.5 / 1.25
    moved_j = power_w * stamp_u_s * rng.normal(size=n + 1)
    residual_w = (steps_j + np.diff(moved_j)) / length_s
    beforehand = np.full(n + 1, 10e-3)
    stamps = stamp_noise(residual_w, np.full(n, length_s), np.full(n + 1, power_w), beforehand, 0.1, 0.4)
    assert stamps.shown_s == pytest.approx(stamp_u_s, rel=0.05)
    assert stamps.u_s[0] == pytest.approx(stamp_u_s, rel=0.1)
    unaware_s = stamp_noise(residual_w, np.full(n, length_s), np.full(n + 1, power_w), beforehand, 0.1, 0.0).shown_s
    assert unaware_s < 0.7 * stamp_u_s
