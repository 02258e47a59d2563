"""The IPMI meter on ipmi_sim: channels and their roles, what counts as a reading, what is reported."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, Channel, EventCode, Reading
from tpb_core.testing.bmc_double.ipmi_sim import INACTIVE, IpmiSim
from tpb_core.testing.bmc_double.sensor_records import SimSensor
from tpb_meter_ipmi import IpmiMeter

PSUS = [SimSensor("PSU1 Power In"), SimSensor("PSU2 Power In", m=8)]


def values(readings: list[Reading], name: str) -> list[float]:
    return [reading.value for reading in readings if reading.channel == name]


def by_name(meter: IpmiMeter) -> dict[str, Channel]:
    return {channel.channel: channel for channel in meter.discover()}


def test_two_supplies_are_parts_and_dcmi_is_their_check(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS) as bmc:
        meter, _ = bench.meter_on(bmc)
        channels = by_name(meter)
        meter.close()
    assert {name: (c.domain, c.scope, c.role, c.resolution, c.point) for name, c in channels.items()} == {
        "n0/ipmi_dcmi": ("n0", "node", "check", 1.0, None),
        "n0/ipmi_psu1_power_in": ("n0", "psu", "part", 4.0, "ac"),
        "n0/ipmi_psu2_power_in": ("n0", "psu", "part", 8.0, "ac"),
    }
    dcmi = channels["n0/ipmi_dcmi"]
    assert (dcmi.averaging_ms, dcmi.delay_ms, dcmi.update_ms) == (None, None, 1000.0)
    assert re.fullmatch(r"ipmitool \d+\.\d+\S*", dcmi.extensions["x_backend"])
    assert dcmi.extensions["x_session"] == "lanplus, ADMINISTRATOR, cipher suite 3"
    assert dcmi.extensions["x_system_guid"] == "a123456789abcdefa123456789abcdef"


def test_one_supply_is_no_node_and_dcmi_is_primary(tmp_path: Path, bench: Any) -> None:
    sensors = [SimSensor("PSU1 Power In"), SimSensor("Total Power", m=8, entity=7), SimSensor("CPU1 Power", m=2, entity=3)]
    with IpmiSim(tmp_path, sensors) as bmc:
        meter, _ = bench.meter_on(bmc, sensors={"CPU1 Power": "package:check@cpu0"})
        found = {name: (c.domain, c.scope, c.role, c.kind) for name, c in by_name(meter).items()}
        meter.close()
        wrong, _ = bench.meter_on(bmc, sensors={"GPU Power": "gpu"})
        with pytest.raises(BadInput, match="no power sensor 'GPU Power'"):
            wrong.discover()
        wrong.close()
    assert found == {
        "n0/ipmi_dcmi": ("n0", "node", "primary", "power"),
        "n0/ipmi_psu1_power_in": ("n0/psu1_power_in", "psu", "primary", "power"),
        "n0/ipmi_total_power": ("n0", "node", "check", "power"),
        "n0/ipmi_cpu1_power": ("n0/cpu0", "package", "check", "power"),
    }


def test_a_node_above_a_kilowatt_is_measured_and_follows_its_power(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS, dcmi_w=6540) as bmc:
        bmc.sensor("PSU2 Power In", 2000.0)
        bmc.settle()
        meter, context = bench.run(bmc)
        first = bench.watch(meter, 0.4)
        assert set(values(first, "n0/ipmi_dcmi")) == {6540.0}
        assert set(values(first, "n0/ipmi_psu2_power_in")) == {2000.0}
        bmc.dcmi(10_250)
        assert values(bench.watch(meter, 0.4), "n0/ipmi_dcmi")[-1] == 10_250.0
        assert EventCode.METER_ERROR not in context.codes()
        stamps = [reading.source_ns for reading in first if reading.channel == "n0/ipmi_dcmi"]
        assert abs((stamps[0] or 0) - time.time_ns()) < 60e9


@pytest.mark.parametrize(("watts", "state", "code"), [(655, INACTIVE, EventCode.METER_ERROR), (0, 0x40, EventCode.ZERO_GLITCH)])
def test_not_activated_and_zero_are_no_reading(tmp_path: Path, bench: Any, watts: int, state: int, code: EventCode) -> None:
    with IpmiSim(tmp_path) as bmc:
        meter, context = bench.run(bmc)
        assert bench.watch(meter, 0.3)
        bmc.dcmi(watts, state)
        bench.watch(meter, 0.2)
        assert bench.watch(meter, 0.3) == []
        assert [(event.code, event.channel) for event in context.events] == [(code, "n0/ipmi_dcmi")]
        bmc.dcmi(700)
        assert 700.0 in values(bench.watch(meter, 0.4), "n0/ipmi_dcmi")


def test_a_supply_on_standby_is_zero_and_a_glitch_is_not(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS) as bmc:
        meter, context = bench.run(bmc, dcmi=False)
        bmc.sensor("PSU2 Power In", 0.0)
        readings = bench.watch(meter, 1.0)
        assert values(readings, "n0/ipmi_psu2_power_in")[-1] == 0.0
        assert context.codes() == [EventCode.ZERO_GLITCH]  # the first five, until it was clear
        bmc.sensor("PSU1 Power In", 0.0)
        bench.watch(meter, 0.3)
        assert bench.watch(meter, 0.3) == []  # a machine that is on draws something


def test_a_sensor_at_the_end_of_its_range_is_left_out(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS) as bmc:
        bmc.sensor("PSU1 Power In", 5000.0)
        bmc.settle()
        meter, context = bench.run(bmc)
        assert values(bench.watch(meter, 0.4), "n0/ipmi_psu1_power_in") == []
        assert any("end of its range (1020 W)" in event.message for event in context.events)


def test_a_sensor_that_stands_still_while_another_moves(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS, dcmi_w=400) as bmc:
        meter, context = bench.run(bmc, stuck_s=0.5, disagreement_rel=100.0)
        for watts in (100.0, 200.0, 400.0, 600.0, 800.0):
            bmc.sensor("PSU1 Power In", watts)
            bench.watch(meter, 0.25)
        stuck = [event for event in context.events if event.code is EventCode.STUCK_SENSOR]
        assert {event.channel for event in stuck} == {"n0/ipmi_dcmi", "n0/ipmi_psu2_power_in"}
        assert "n0/ipmi_psu1_power_in moves from" in stuck[0].message
        assert len(stuck) == 2


def test_a_sensor_that_sleeps_through_the_load(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path) as bmc:
        meter, context = bench.run(bmc, stuck_s=0.3)
        bench.watch(meter, 0.2)
        meter.at_window_edge("measure")
        bench.watch(meter, 0.4)
        meter.at_window_edge("measure")
        assert [(event.code, event.channel) for event in context.events] == [(EventCode.STUCK_SENSOR, "n0/ipmi_dcmi")]


def test_dcmi_that_leaves_out_a_tray_disagrees_with_the_supplies(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS, dcmi_w=300) as bmc:
        bmc.sensor("PSU1 Power In", 800.0)
        bmc.sensor("PSU2 Power In", 800.0)
        bmc.settle()
        meter, context = bench.run(bmc)
        bench.watch(meter, 0.8)
        (event,) = context.events
        assert (event.code, event.channel) == (EventCode.METER_DISAGREEMENT, "n0/ipmi_dcmi")
        assert "GPU trays" in event.message
        bmc.dcmi(1520)  # 5 % below: the supplies' loss


def test_dcmi_within_the_loss_of_the_supplies_agrees(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS, dcmi_w=1480) as bmc:
        bmc.sensor("PSU1 Power In", 800.0)
        bmc.sensor("PSU2 Power In", 800.0)
        bmc.settle()
        meter, context = bench.run(bmc)
        bench.watch(meter, 0.8)
        assert context.events == []


@pytest.mark.slow
def test_ten_trials_in_real_time(tmp_path: Path, bench: Any) -> None:
    # Idle 100 W, busy 300 W for 1 s, idle: the energy of the whole, as steps that hold until the next reading.
    with IpmiSim(tmp_path, dcmi_w=100) as bmc:
        meter, context = bench.run(bmc)
        for _ in range(10):
            bmc.dcmi(100)
            readings = bench.watch(meter, 0.3)
            bmc.dcmi(300)
            begin_ns = context.clock.now_ns()
            readings += bench.watch(meter, 1.0)
            bmc.dcmi(100)
            busy_s = (context.clock.now_ns() - begin_ns) * 1e-9
            readings += bench.watch(meter, 0.3)
            t_s = [(reading.t_before_ns + reading.t_after_ns) / 2e9 for reading in readings]
            joules = sum(readings[k].value * (t_s[k + 1] - t_s[k]) for k in range(len(readings) - 1))
            truth = 100 * (t_s[-1] - t_s[0]) + 200 * busy_s
            assert joules == pytest.approx(truth, rel=0.1)
        assert context.events == []
