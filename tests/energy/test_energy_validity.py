"""Validity: each check with its value, limit and gate flag; without an answer a gate fails; what cannot be told is no gate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tpb_attributors import Totals, TotalsConfig
from tpb_core.api import Channel, ValidityRow, Window
from tpb_core.energy.validity import CHECKS
from tpb_core.testing.batch_world import BatchPlan, batch_world, gpu_channel
from tpb_core.testing.memory_run import MemoryRun, series_of
from tpb_core.testing.power_world import Refresh, read_counter


def good_run() -> MemoryRun:
    rng = np.random.default_rng(0)
    world = batch_world(BatchPlan(batches=8, decode_steps=20, idle_s=3.0), rng)
    read = np.arange(world.read_from_s, world.read_to_s, 0.05)
    channel = gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0)
    world.run.channels = [channel]
    world.run.samples = {channel.channel: read_counter(world.trace, read, Refresh(0.1), rng)}
    world.run.manifest = {
        "load": {"shape": "static"},
        "engine": {"instances": [{"instance": "0", "devices": ["GPU-0"]}]},
        "overhead": {"sampler": {"ticks": 1000, "ticks_missed": 1}},
    }
    return world.run


def checks(run: MemoryRun) -> dict[str, ValidityRow]:
    rows = Totals(TotalsConfig()).attribute([run])[0].validity
    assert {row.check for row in rows} <= set(CHECKS)
    return {row.check: row for row in rows}


def gates_passed(rows: dict[str, ValidityRow]) -> bool:
    return all(row.passed is True for row in rows.values() if row.gate)


def gauge(kind: str, unit: str, values: Any, run: MemoryRun, **keys: Any) -> None:
    channel = Channel(f"n0/gpu0/{kind}", "n0/gpu0", "gpu", kind, unit, "measured", **keys)
    t = np.linspace(run.windows[1].t0_ns / 1e9, run.windows[1].t1_ns / 1e9, len(values))
    run.channels = [*run.channels, channel]
    run.samples[channel.channel] = series_of(t, np.asarray(values, float))


def test_a_good_run_passes_every_gate() -> None:
    rows = checks(good_run())
    assert gates_passed(rows)
    assert rows["tokens_consistent"].value == 0
    assert rows["no_throttling"].gate is False
    assert rows["no_throttling"].reason == "no_sensor"


def test_a_run_without_a_measured_window_fails() -> None:
    run = good_run()
    run.windows = run.windows[:1]
    row = checks(run)["window_bracketed"]
    assert (row.passed, row.gate, row.reason) == (None, True, "status_partial")


def test_a_run_without_a_sensor_fails_closed() -> None:
    run = good_run()
    run.channels = []
    rows = checks(run)
    assert rows["expected_devices"].passed is False
    assert rows["window_bracketed"].passed is None
    assert not gates_passed(rows)


def test_a_device_of_the_engine_without_a_meter_fails() -> None:
    run = good_run()
    run.manifest = {**run.manifest, "engine": {"instances": [{"instance": "0", "devices": ["GPU-0", "GPU-1"]}]}}
    assert checks(run)["expected_devices"].value == 1


@pytest.mark.parametrize(("bits", "passed"), [(0x4, True), (0x40, False), (0x80, False)])
def test_heat_and_brake_bits_are_throttling(bits: int, passed: bool) -> None:
    run = good_run()
    gauge("bitmask", "1", [0] * 10 + [bits] * 10, run, meter="nvml")
    row = checks(run)["no_throttling"]
    assert (row.gate, row.passed) == (True, passed)


def test_a_rising_temperature_fails_and_a_steady_one_passes() -> None:
    run = good_run()
    gauge("gauge", "degC", np.linspace(50, 60, 30), run)
    assert checks(run)["steady_temperature"].passed is False
    run = good_run()
    gauge("gauge", "degC", np.full(30, 60.0), run)
    assert checks(run)["steady_temperature"].passed is True


def test_missed_ticks_fail() -> None:
    run = good_run()
    run.manifest = {**run.manifest, "overhead": {"sampler": {"ticks": 100, "ticks_missed": 5}}}
    assert checks(run)["sampler_on_time"].passed is False


def test_requests_sent_late_fail() -> None:
    run = good_run()
    run.tables["requests"]["due_ns"] = run.tables["requests"]["due_ns"] - 200_000_000
    run.windows = [run.windows[0], Window("measure", run.windows[1].t0_ns - 300_000_000, run.windows[1].t1_ns), run.windows[2]]
    row = checks(run)["client_on_time"]
    assert row.value == pytest.approx(0.2, abs=0.01)
    assert row.passed is False


def test_tokens_that_do_not_add_up_fail() -> None:
    run = good_run()
    run.tables["requests"]["output_tokens"] = run.tables["requests"]["output_tokens"].copy()
    run.tables["requests"]["output_tokens"][3] += 1
    assert checks(run)["tokens_consistent"].value == 1


def test_five_random_arrivals_are_not_a_measurement() -> None:
    run = good_run()
    run.manifest = {**run.manifest, "load": {"shape": "poisson"}}
    run.tables["requests"] = {name: column[:5] for name, column in run.tables["requests"].items()}
    row = checks(run)["enough_requests"]
    assert (row.value, row.passed) == (5.0, False)


def test_two_channels_of_one_sensor_must_be_consistent_and_two_sensors_agree_within_their_uncertainty() -> None:
    run = good_run()
    mine = run.samples["n0/gpu0/energy_counter"]
    for name, sensor, factor in (("twin", "GPU-0", 1.08), ("other", "X", 1.02)):
        other = gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0, role="check", sensor=sensor)
        other.channel = f"n0/gpu0/{name}"
        run.channels = [*run.channels, other]
        run.samples[other.channel] = series_of(mine.t_ns / 1e9, factor * mine.value)
    rows = checks(run)
    assert 0.075 < rows["meters_consistent"].value < 0.08, "8 %, less what both channels are unsure of"
    assert rows["meters_consistent"].passed is False
    assert rows["meters_agree"].passed is True


def test_a_node_below_its_parts_fails() -> None:
    run = good_run()
    node = Channel("n0/bmc", "n0", "node", "energy_counter", "J", "measured", gain_u_rel=0.01, offset_u_w=1.0, update_ms=100.0, wrap=0.0)
    mine = run.samples["n0/gpu0/energy_counter"]
    run.channels = [node, *run.channels]
    run.samples["n0/bmc"] = series_of(mine.t_ns / 1e9, 0.5 * mine.value)
    assert checks(run)["rest_not_negative"].passed is False


def cpu_times(run: MemoryRun, node_cores: float, engine_cores: float, ours_s: float = 0.0, until_s: float = 1e9) -> None:
    """A node of 8 CPUs of which `node_cores` are busy all the time, `engine_cores` of them with the engine; our own took `ours_s`."""
    window = run.windows[1]
    t = np.arange(run.windows[0].t0_ns / 1e9, min(window.t1_ns / 1e9 + 1.0, until_s), 0.1)
    for scope, cores in (("node", node_cores), ("process", engine_cores)):
        name = f"n0/cpu_{scope}"
        keys = {"unit": "s", "evidence": "estimated", "meter": "estimate", "extensions": {"x_cores": 8}}
        run.channels = [*run.channels, Channel(name, name, scope, "time_counter", parent="n0", **keys)]
        run.samples[name] = series_of(t, cores * t)
    overhead = {**run.manifest["overhead"], "session": {"measure_cpu_s": ours_s}}
    run.manifest = {**run.manifest, "overhead": overhead}


def test_strangers_on_the_host_fail_the_run() -> None:
    """Three of eight CPUs busy and two of them with the engine: one of eight is a stranger's, 12.5 %."""
    run = good_run()
    cpu_times(run, 3.0, 2.0)
    row = checks(run)["host_not_busy"]
    assert row.value == pytest.approx(0.125, abs=1e-6)
    assert (row.passed, row.gate, row.limit) == (False, True, 0.05)
    assert not gates_passed(checks(run))


def test_the_engine_and_our_own_processes_are_no_strangers() -> None:
    run = good_run()
    cpu_times(run, 3.0, 2.0, ours_s=1.0 * run.windows[1].duration_s)
    row = checks(run)["host_not_busy"]
    assert row.value == pytest.approx(0.0, abs=1e-6)
    assert gates_passed(checks(run))


def test_announced_cpu_times_that_end_early_fail_and_absent_ones_are_no_gate() -> None:
    run = good_run()
    cpu_times(run, 3.0, 2.0, until_s=run.windows[1].t1_ns / 1e9 - 1.0)
    row = checks(run)["host_not_busy"]
    assert (row.value, row.passed, row.gate, row.reason) == (None, None, True, "no_reading")
    row = checks(good_run())["host_not_busy"]
    assert (row.passed, row.gate, row.reason) == (None, False, "no_sensor")


def test_a_server_that_was_there_before_cannot_be_told_from_strangers() -> None:
    run = good_run()
    cpu_times(run, 7.0, 0.1)
    run.manifest = {**run.manifest, "engine": {**run.manifest["engine"], "requested": {"url": "http://localhost:8000"}}}
    row = checks(run)["host_not_busy"]
    assert (row.passed, row.gate, row.reason) == (None, False, "not_ours")


def test_what_is_only_watched_may_have_company() -> None:
    run = good_run()
    cpu_times(run, 7.0, 0.1)
    run.manifest = {**run.manifest, "load": {"shape": "observed"}}
    assert checks(run)["host_not_busy"].gate is False
