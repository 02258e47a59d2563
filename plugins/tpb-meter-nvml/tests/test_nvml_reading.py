"""Readings: values, stamps, glitches, refusals, vanishing boards and driver resets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tpb_core.api import EventCode
from tpb_core.testing.nvml_double import PowerTrace

SECOND = 1_000_000_000


def test_values_units_and_stamps(bench: Any) -> None:
    bench.double.gpu("h100", PowerTrace.steps([(109.5, 100.0), (10.0, 500.0)]))
    meter = bench.opened()
    readings = {reading.channel: reading for reading in meter.read()}
    counter = readings["n0/gpu0/energy"]
    assert counter.value == pytest.approx(109.5 * 100 + 0.5 * 500)
    assert (counter.t_before_ns, counter.t_after_ns) == (110 * SECOND, 110 * SECOND)
    assert (counter.source_ns, counter.source_clock) == (110 * SECOND + 1_790_000_000 * SECOND, "realtime")
    assert readings["n0/gpu0/power"].value == 500.0
    assert readings["n0/gpu0/power_average"].value == pytest.approx(300.0)
    assert readings["n0/gpu0/memory/power_average"].value == pytest.approx(45.0)


def test_gauges_come_once_a_second(bench: Any) -> None:
    bench.double.gpu("h100", temperature_c=61, reasons=4)
    meter = bench.opened()
    seen = []
    for _ in range(31):
        seen.append(bench.read(meter))
        bench.clock.advance_s(0.1)
    with_gauges = [index for index, values in enumerate(seen) if "n0/gpu0/temperature" in values]
    assert with_gauges == [0, 10, 20, 30]
    assert {name.rpartition("/")[2]: value for name, value in seen[0].items() if "power" not in name and "energy" not in name} == {
        "temperature": 61.0,
        "clock_sm": 1755.0,
        "clock_memory": 2619.0,
        "throttle_reasons": 4.0,
        "utilisation": 80.0,
        "utilisation_memory": 40.0,
        "read_latency": 0.0,
    }
    assert seen[0]["n0/gpu0/power_limit"] == 700.0
    assert EventCode.THROTTLED not in bench.codes(), "a power cap is not heat"


def test_heat_is_an_event_when_it_begins(bench: Any) -> None:
    bench.double.gpu("h100", reasons=0x40 | 0x4)
    meter = bench.opened()
    for _ in range(30):
        meter.read()
        bench.clock.advance_s(0.1)
    events = [event for event in bench.events if event[0] == EventCode.THROTTLED]
    assert events == [(EventCode.THROTTLED, "hardware thermal slowdown", "n0/gpu0/throttle_reasons")]


def test_zero_glitches_are_dropped_and_every_one_is_counted(bench: Any) -> None:
    bench.double.gpu("v100", PowerTrace.constant(200), zero_every=7)
    meter = bench.opened()
    powers = 0
    for _ in range(700):
        values = bench.read(meter)
        assert values.get("n0/gpu0/power", 200.0) == 200.0
        powers += "n0/gpu0/power" in values
        bench.clock.advance_s(0.1)
    meter.close()
    glitches = [message for code, message, _ in bench.events if code == EventCode.ZERO_GLITCH]
    counted = sum(1 if "(" not in message else int(message.split("(")[1].split()[0]) for message in glitches)
    assert counted == 700 - powers == 100
    assert len(glitches) < 12, "told about every 10 s, not 100 times"


def test_a_field_that_fails_for_a_while_is_left_out_and_told_twice(bench: Any) -> None:
    bench.double.gpu("h100", failures=((111, 113, 186, 3),))
    meter = bench.opened()
    with_power = []
    for _ in range(50):
        values = bench.read(meter)
        assert "n0/gpu0/energy" in values, "one field's failure is not another's"
        with_power.append("n0/gpu0/power" in values)
        bench.clock.advance_s(0.1)
    assert with_power == [True] * 10 + [False] * 20 + [True] * 20
    told = [message for code, message, channel in bench.events if channel == "n0/gpu0/power"]
    assert told == ["field 186: Not Supported", "reads again; 20 readings failed since it was told"]


def test_a_vanished_board_leaves_a_hole_and_is_read_again_by_uuid(bench: Any) -> None:
    bench.double.gpu("h100", PowerTrace.constant(100), uuid="GPU-gone", absent_s=((111, 114.5),)).gpu(
        "h100", PowerTrace.constant(300), uuid="GPU-stays"
    )
    meter = bench.opened()
    first, second = [], []
    for _ in range(80):
        values = bench.read(meter)
        first.append(values.get("n0/gpu0/power"))
        second.append(values.get("n0/gpu1/power"))
        bench.clock.advance_s(0.1)
    assert second == [300.0] * 80, "indices shift while the board is away; handles by UUID do not"
    assert first[:10] == [100.0] * 10
    assert first[10:45] == [None] * 35
    assert first[60:] == [100.0] * 20, "looked for once a second"
    assert any("answers again after" in message for _, message, _ in bench.events)


def test_a_driver_reset_restarts_the_counter_and_handles_are_fetched_anew(bench: Any) -> None:
    bench.double.gpu("h100", PowerTrace.constant(100), reset_s=(112.0,))
    meter = bench.opened()
    values = []
    for _ in range(60):
        values.append(bench.read(meter).get("n0/gpu0/energy"))
        bench.clock.advance_s(0.1)
    counted = [value for value in values if value is not None]
    assert counted[0] == 11_000.0
    assert counted[-1] == pytest.approx(390.0), "5.9 s after the start, 3.9 s after the reset"
    assert 0.0 not in counted
    falls = [(a, b) for a, b in itertools.pairwise(counted) if b < a]
    assert len(falls) == 1, "one fall, for the attributor to call a reset"


def test_nvml_errors_in_the_call_itself_are_events_not_exceptions(bench: Any) -> None:
    bench.double.gpu("h100")
    meter = bench.opened()
    bench.double.permission = "none"
    bench.double.rewrite()
    meter._nvml.nvmlShutdown()
    meter._nvml.nvmlInit()
    assert list(meter.read()) == []
    assert EventCode.METER_ERROR in bench.codes()


def test_reading_before_discover_and_after_close_gives_nothing(bench: Any) -> None:
    bench.double.gpu("h100")
    meter = bench.meter()
    assert list(meter.read()) == []
    meter.open()
    assert len(list(meter.read())) > 3
    meter.close()
    meter.close()
    assert list(meter.read()) == []
