"""Readings against closed-form integrals of known power, and every fault."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpb_core.api import BadInput
from tpb_sim.sensor import SENSORS, Faults, Sensor, SensorSpec, sensor_spec
from tpb_sim.trace import PowerTrace

S = 1_000_000_000
MS = 1_000_000


def square(seconds: int = 20) -> PowerTrace:
    """600 W in the first 300 ms of every second, 200 W in the rest: 320 W on average."""
    trace = PowerTrace(0, before_w=200.0)
    for second in range(seconds):
        trace.append(second * S + 300 * MS, 600.0)
        trace.append((second + 1) * S, 200.0)
    return trace


def exact(**changes: float | bool) -> SensorSpec:
    return dataclasses.replace(SensorSpec(resolution_w=0.0, resolution_j=0.0), **changes)  # type: ignore[arg-type]


def test_a_reading_is_the_mean_over_the_window_before_the_last_update() -> None:
    sensor = Sensor(exact(update_ms=100.0, averaging_ms=400.0), square().energy_j, 0, seed=3)
    t_ns = 5 * S + 777 * MS
    said = float(sensor.power(t_ns).value[0])
    # the last update lies up to 100 ms back; mean of [u - 0.4, u) with the high part ending at 0.3 s: falls by 1 W a ms of u
    # u in (5.677, 5.777]: the window (u - 0.4, u) holds 0.3 - (u - 0.4) of the high part while u < 5.7, none after
    update_s = 5.777 - (said == 200.0) * 0.0
    candidates = [200.0 + 400.0 * max(0.0, 0.7 - u) / 0.4 for u in np.linspace(0.677, 0.777, 100_001)]
    assert min(abs(said - c) for c in candidates) < 0.01
    assert update_s > 0


def test_delay_shifts_what_is_seen() -> None:
    late = Sensor(exact(update_ms=1.0, averaging_ms=10.0, delay_ms=2300.0), square().energy_j, 0, seed=1)
    # at 10.5 s it sees 8.2 s, well inside the high part (8.0 to 8.3); at 10.7 s it sees 8.4 s
    assert late.power([10.5 * S, 10.7 * S]).value == pytest.approx([600.0, 200.0])


def test_gain_offset_and_resolution() -> None:
    trace = PowerTrace(0, before_w=300.0)
    trace.append(10 * S, 300.0)
    sensor = Sensor(exact(gain=1.05, offset_w=-3.0, resolution_w=8.0), trace.energy_j, 0, seed=1)
    # 1.05 * 300 - 3 = 312 W = 39 steps of 8 W
    assert sensor.power(5 * S).value[0] == 312.0
    counter = sensor.energy(np.array([2, 8]) * S).value
    assert np.diff(counter)[0] == pytest.approx(6.0 * 312.0, abs=31.3)  # an update of 100 ms at either end


def test_the_full_counter_sees_everything_and_the_sampled_one_its_windows_only() -> None:
    # Load in phase with the sensor: bursts of 25 ms at 600 W every 100 ms, 200 W between. A sampled counter sees 600 W, 200 W or a mix
    # for ever, whatever the number of updates; the full one sees the mean of 300 W.
    trace = PowerTrace(0, before_w=200.0)
    for tenth in range(200):
        trace.append(tenth * 100 * MS + 25 * MS, 600.0)
        trace.append((tenth + 1) * 100 * MS, 200.0)
    full = Sensor(exact(), trace.energy_j, 0, seed=8)
    sampled = Sensor(exact(counter_sampled=True), trace.energy_j, 0, seed=8)
    window = np.array([1, 19]) * S
    assert np.diff(full.energy(window).value)[0] / 18 == pytest.approx(300.0, rel=1e-9)
    assert np.diff(sampled.energy(window).value)[0] / 18 == pytest.approx(float(sampled.power(10 * S).value[0]), rel=1e-9)


def test_wrap_reset_gap_and_stuck() -> None:
    trace = PowerTrace(0, before_w=100.0)
    trace.append(100 * S, 100.0)
    faults = Faults(resets_s=(20.0, 40.0), gaps_s=((50.0, 51.0),), stuck_s=((60.0, 65.0),))
    sensor = Sensor(exact(update_ms=1.0, wrap_j=1000.0), trace.energy_j, 0, seed=2, faults=faults)
    plain = Sensor(exact(update_ms=1.0), trace.energy_j, 0, seed=2)
    start = float(plain.energy(0).value[0])

    def joules(t_s: float) -> float:
        return float(sensor.energy(t_s * S).value[0])

    assert joules(10.0) == pytest.approx((start + 1000.0) % 1000.0, abs=0.2)
    assert joules(20.5) == pytest.approx(50.0, abs=0.2)  # half a second after the reset
    assert joules(39.0) == pytest.approx(1900.0 % 1000.0, abs=0.2)
    assert joules(41.0) == pytest.approx(100.0, abs=0.2)
    assert sensor.energy([49.9 * S, 50.5 * S, 51.0 * S]).readable.tolist() == [True, False, True]
    assert joules(64.9) == joules(60.0)
    assert joules(65.5) == pytest.approx(2550.0 % 1000.0, abs=0.2)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(SENSORS)), st.integers(0, 2**31), st.lists(st.integers(0, 19 * 10**9), min_size=1, max_size=40))
def test_reading_tick_by_tick_says_the_same_as_all_at_once(name: str, seed: int, times_ns: list[int]) -> None:
    times_ns = sorted(times_ns)
    noisy = dataclasses.replace(SENSORS[name], noise_w=3.0, jitter_ms=0.2)
    one, many = (Sensor(noisy, square().energy_j, 0, seed, Faults(resets_s=(7.0,))) for _ in range(2))
    ticks = [(float(one.power(t).value[0]), float(one.energy(t).value[0])) for t in times_ns]
    assert [t[0] for t in ticks] == many.power(times_ns).value.tolist()
    assert [t[1] for t in ticks] == pytest.approx(many.energy(times_ns).value.tolist(), rel=1e-12, abs=1e-9)


def test_unknown_names_are_refused_with_what_there_is() -> None:
    with pytest.raises(BadInput, match="no sensor class 'h10'") as refusal:
        sensor_spec("h10")
    assert "Did you mean 'h100'?" in refusal.value.lines()
    with pytest.raises(BadInput, match="no number 'gian'"):
        sensor_spec("h100", {"gian": 1.0})
