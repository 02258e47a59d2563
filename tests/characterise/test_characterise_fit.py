"""Averaging window and delay recovered from readings of a known power, in virtual time, within the uncertainty that is stated."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_core.energy.characterisation import Response, fit_response
from tpb_core.energy.drive import LEAST_S, Drive
from tpb_core.energy.observations import from_counter, from_power
from tpb_core.run.characterise.schedule import on_and_off
from tpb_core.testing.power_world import PowerTrace, Refresh, read_counter, read_power

SEEDS = range(4)
LENGTH_S = 45.0
RISE_S = 0.010


def world(seed: int) -> tuple[Drive, PowerTrace]:
    """A load switched at irregular times, and the power behind it, which rises with 10 ms: 100 to 400 W in steps of 1 ms."""
    edges = np.cumsum([part.seconds for part in on_and_off(LENGTH_S, seed)])
    drive = Drive.of_switching(edges)
    t_s = np.arange(-6.0, edges[-1] + 20.0, 1e-3)
    return drive, PowerTrace(t_s, 100 + 300 * np.diff(drive.integral(t_s, RISE_S)) / 1e-3)


def read_times(drive: Drive, poll_s: float, rng: np.random.Generator) -> np.ndarray:
    times = np.arange(-4.0, drive.edge_s[-1] + 10.0, poll_s)
    return times + rng.uniform(0, 1e-3, len(times))


def fitted(seed: int, window_s: float, delay_s: float, period_s: float, poll_s: float, step_w: float = 0.001) -> Response:
    rng = np.random.default_rng(seed)
    drive, trace = world(seed)
    series = read_power(trace, read_times(drive, poll_s, rng), Refresh(period_s, delay_s, 5e-4), window_s, rng, noise_w=3.0)
    value = np.round(series.value / step_w) * step_w
    t_s, half_s = series.t_ns / 1e9, series.half_width_ns / 1e9
    seen = from_power(t_s, value, half_s, averaging_s=LEAST_S, update_s=period_s, delay_s=0.0)
    return fit_response(seen, drive, seed=seed, replicas=24)


@pytest.mark.parametrize(
    ("window_ms", "delay_ms", "period_ms", "poll_ms", "step_w"),
    [
        (25, 0, 100, 10, 0.001),
        (25, 150, 100, 10, 0.001),
        (100, 50, 100, 10, 0.001),
        (100, 500, 100, 10, 0.001),
        (1000, 0, 100, 10, 0.001),
        (1000, 500, 100, 10, 0.001),
        (1000, 2300, 1000, 100, 8.0),
    ],
    ids=lambda value: str(value),
)
def test_window_and_delay_are_recovered(window_ms: float, delay_ms: float, period_ms: float, poll_ms: float, step_w: float) -> None:
    """The last one is a BMC: 1 Hz, 8 W steps, 2.3 s late. Three standard uncertainties hold all, two hold most."""
    misses = 0
    for seed in SEEDS:
        found = fitted(seed, window_ms / 1e3, delay_ms / 1e3, period_ms / 1e3, poll_ms / 1e3, step_w)
        assert found.reason is None
        assert found.averaging_s is not None and found.averaging_u_s is not None
        assert found.delay_s is not None and found.delay_u_s is not None
        off_s = (found.averaging_s - window_ms / 1e3, found.delay_s - delay_ms / 1e3)
        pulls = (off_s[0] / found.averaging_u_s, off_s[1] / found.delay_u_s)
        assert max(abs(pull) for pull in pulls) < 3.0, (seed, pulls, found)
        misses += sum(abs(pull) > 2.0 for pull in pulls)
        assert found.averaging_u_s < max(0.15 * window_ms / 1e3, 0.006), "and the uncertainty is of use"
        assert found.delay_u_s < max(0.012, 0.08 * period_ms / 1e3)
        assert found.step == pytest.approx(300, rel=0.02)
    assert misses <= 2


def test_the_delay_of_a_counter_is_recovered() -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        drive, trace = world(seed)
        series = read_counter(trace, read_times(drive, 0.02, rng), Refresh(0.1, 0.2, 5e-4), rng, resolution_j=0.001)
        half_s = series.half_width_ns / 1e9
        seen, _ = from_counter(series.t_ns / 1e9, series.value, half_s, wrap_j=0.0, max_power_w=700.0, update_s=0.1, delay_s=0.0)
        found = fit_response(seen, drive, seed=seed, replicas=24)
        assert found.averaging_s is None
        assert found.delay_s is not None and found.delay_u_s is not None
        assert abs(found.delay_s - 0.2) < 3 * found.delay_u_s < 0.03


def test_the_lag_behind_a_faster_channel_is_recovered() -> None:
    """A BMC held against the GPU's own power, which makes the load's own behaviour irrelevant."""
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        drive, trace = world(seed)
        fast = read_power(trace, read_times(drive, 0.02, rng), Refresh(0.02), 0.02, rng, noise_w=2.0)
        slow = read_power(trace, read_times(drive, 0.1, rng), Refresh(1.0, 2.3, 5e-4), 1.0, rng, noise_w=3.0)
        zeros = fast.half_width_ns / 1e9
        inside = from_power(fast.t_ns / 1e9, fast.value, zeros, averaging_s=0.02, update_s=0.02, delay_s=0.0)
        value = np.round((300 + 1.1 * slow.value) / 8) * 8
        seen = from_power(slow.t_ns / 1e9, value, slow.half_width_ns / 1e9, averaging_s=LEAST_S, update_s=1.0, delay_s=0.0)
        found = fit_response(seen, Drive.of_observations(inside), seed=seed, replicas=24, rises=False)
        assert (
            found.delay_s is not None and found.delay_u_s is not None and found.averaging_s is not None and found.averaging_u_s is not None
        )
        assert abs(found.delay_s - 2.3) < 3 * found.delay_u_s < 0.2
        assert abs(found.averaging_s - 1.0) < 3 * found.averaging_u_s < 0.2
        assert found.step == pytest.approx(1.1, rel=0.02)


def test_a_sensor_that_does_not_follow_gives_no_figure_but_a_reason() -> None:
    drive, _ = world(0)
    rng = np.random.default_rng(0)
    t_s = read_times(drive, 0.1, rng)
    for value, why in ((np.full(len(t_s), 55.0), "never changed"), (rng.normal(55, 5, len(t_s)), "does not follow")):
        seen = from_power(t_s, value, np.zeros(len(t_s)), averaging_s=LEAST_S, update_s=0.1, delay_s=0.0)
        found = fit_response(seen, drive, replicas=4)
        assert found.averaging_s is None and found.delay_s is None
        assert why in (found.reason or "")


def test_too_few_edges_give_no_figure() -> None:
    t_s = np.arange(0.0, 20.0, 0.1)
    seen = from_power(t_s, np.where(t_s > 10, 200.0, 100.0), np.zeros(len(t_s)), averaging_s=LEAST_S, update_s=0.1, delay_s=0.0)
    found = fit_response(seen, Drive.of_switching(np.array([10.0])), replicas=4)
    assert found.delay_s is None
    assert "1 edges" in (found.reason or "")


def test_the_filtered_drive_is_exact() -> None:
    """Worked out by hand: a step at 1 s, time constant 0.5 s; mean of 1 - exp(-u / 0.5) over u in [0, 1] is 1 - 0.5 (1 - exp(-2))."""
    drive = Drive.of_switching(np.array([1.0]))
    lo, hi = np.array([1.0, -1.0, 0.5]), np.array([2.0, 1.0, 1.5])
    assert drive.mean(lo, hi) == pytest.approx([1.0, 0.0, 0.5])
    risen = 1 - 0.5 * (1 - np.exp(-2.0))
    half = 0.5 - 0.5 * (1 - np.exp(-1.0))
    assert drive.mean(lo, hi, rise_s=0.5) == pytest.approx([risen, 0.0, half])
