"""True power: exact integrals, static drift."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_sim.cost import StaticPower
from tpb_sim.device import Device
from tpb_sim.trace import PowerTrace

S = 1_000_000_000


def test_integral_of_two_segments_by_hand() -> None:
    trace = PowerTrace(5 * S, before_w=10.0)
    trace.append(7 * S, 100.0)
    trace.append(8 * S, 300.0)
    # 2 s at 100 W, 1 s at 300 W; at 7.5 s: 200 + 150; before the start 10 W
    assert trace.energy_j([5 * S, 6 * S, 7 * S, 7.5 * S, 8 * S, 3 * S]).tolist() == [0.0, 100.0, 200.0, 350.0, 500.0, -20.0]


def test_the_future_cannot_be_read_and_the_past_not_written() -> None:
    trace = PowerTrace(0, before_w=0.0)
    trace.append(S, 50.0)
    with pytest.raises(ValueError, match="trace ends"):
        trace.energy_j([S + 10])
    with pytest.raises(ValueError, match="cannot be extended"):
        trace.append(S - 1, 50.0)


def test_forgetting_keeps_later_integrals() -> None:
    trace = PowerTrace(0, before_w=0.0)
    for second in range(1, 11):
        trace.append(second * S, 10.0 * second)
    before = trace.energy_j([6.5 * S, 10 * S])
    trace.forget_before(6 * S)
    assert trace.energy_j([6.5 * S, 10 * S]).tolist() == before.tolist()


@given(st.lists(st.tuples(st.integers(1, 10**9), st.floats(0, 1000)), min_size=1, max_size=30))
def test_integral_is_the_sum_of_segments(segments: list[tuple[int, float]]) -> None:
    trace, t_ns, joules = PowerTrace(7, before_w=0.0), 7, 0.0
    for length_ns, watts in segments:
        t_ns += length_ns
        joules += watts * length_ns / 1e9
        trace.append(t_ns, watts)
    assert trace.energy_j([t_ns])[0] == pytest.approx(joules, rel=1e-12)


def test_static_power_approaches_the_rise_that_the_load_makes() -> None:
    # dx/dt = (0.1 * 200 W - x) / 10 s from x = 0: after t seconds x = 20 (1 - exp(-t/10)), integral 20 (t - 10 (1 - exp(-t/10)))
    device = Device("n0/gpu0", 0, StaticPower(loaded_w=100.0, rise=0.1, tau_s=10.0))
    device.loaded = True
    for step in range(300):
        device.run(step * S // 10, (step + 1) * S // 10, 200.0)
    expected = 300.0 * 30.0 + 20.0 * (30.0 - 10.0 * (1 - math.exp(-3.0)))
    assert device.trace.energy_j([30 * S])[0] == pytest.approx(expected, rel=1e-9)
    # then it cools: x decays from 20 (1 - exp(-3)) with the same time constant
    hot_w = 20.0 * (1 - math.exp(-3.0))
    device.idle_until(40 * S)
    cooled = device.trace.energy_j([30 * S, 40 * S])
    assert cooled[1] - cooled[0] == pytest.approx(1000.0 + hot_w * 10.0 * (1 - math.exp(-1.0)), rel=1e-9)


def test_bare_until_loaded() -> None:
    device = Device("n0/gpu0", 0, StaticPower(loaded_w=120.0, bare_w=70.0))
    device.idle_until(2 * S)
    device.loaded = True
    device.idle_until(3 * S)
    assert np.diff(device.trace.energy_j([0, 2 * S, 3 * S])).tolist() == [140.0, 120.0]
