"""The command meter: lines to readings, deaths and restarts, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core.api import BadInput, EventCode, Reading, Reason, Unavailable
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_suite import MeterSuite
from tpb_meter_command import CommandConfig, CommandMeter

LOOP = "while :; do {line}; sleep 0.02; done"


def shell(line: str) -> str:
    return f"sh -c '{line}'"


def command(line: str, **options: object) -> tuple[CommandMeter, RecordingContext]:
    settings: dict[str, object] = {"channels": {"wall": "1 W node"}, "restart_delay_s": 0.05, **options}
    context = RecordingContext()
    return CommandMeter(CommandConfig(command=shell(line), **settings), context), context  # type: ignore[arg-type]


def readings_within(meter: CommandMeter, seconds: float, wanted: int = 10**9) -> list[Reading]:
    found: list[Reading] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(found) < wanted:
        found += meter.read()
        time.sleep(0.01)
    return found


@pytest.fixture
def opened() -> Iterator[list[CommandMeter]]:
    meters: list[CommandMeter] = []
    yield meters
    for meter in meters:
        meter.close()


def run(opened: list[CommandMeter], line: str, **options: object) -> tuple[CommandMeter, RecordingContext]:
    meter, context = command(line, **options)
    meter.discover()
    opened.append(meter)
    meter.open()
    return meter, context


def test_several_channels_of_one_line_in_si_units(opened: list[CommandMeter]) -> None:
    channels = {"wall": "2 mW node", "plug": "3 Wh outlet@plug", "supply": "4 V node"}
    meter, _ = run(opened, LOOP.format(line='echo "a;41500;0.5;230.1 V"'), channels=channels, separator=";")
    first = {reading.channel: reading.value for reading in readings_within(meter, 5.0, 3)[:3]}
    assert first == {"n0/command_wall": 41.5, "n0/plug/command_plug": 1800.0, "n0/command_supply": 230.1}
    assert {c.channel: (c.kind, c.unit, c.domain, c.parent) for c in meter.discover()} == {
        "n0/command_wall": ("power", "W", "n0", None),
        "n0/plug/command_plug": ("energy_counter", "J", "n0/plug", "n0"),
        "n0/command_supply": ("gauge", "V", "n0", None),
    }


def test_node_power_above_a_kilowatt_is_kept(opened: list[CommandMeter]) -> None:
    meter, context = run(opened, LOOP.format(line="echo 6.55 kW"), channels={"wall": "1 kW node"}, separator=";")
    assert readings_within(meter, 5.0, 1)[0].value == 6550.0
    assert context.events == []


def test_regex_and_json(opened: list[CommandMeter]) -> None:
    meter, _ = run(
        opened, LOOP.format(line='echo "Power draw = 12,5 W at 3 V"'),
        format="regex", pattern=r"draw = (?P<draw>\S+)", channels={"wall": "draw W node"}, decimal=",",
    )  # fmt: skip
    assert readings_within(meter, 5.0, 1)[0].value == 12.5
    meter, _ = run(
        opened, LOOP.format(line='echo "{\\"ENERGY\\": {\\"Power\\": 63, \\"Total\\": 1.5}}"'),
        format="json", channels={"plug": "ENERGY.Power W outlet", "energy": "ENERGY.Total kWh outlet@plug"},
    )  # fmt: skip
    assert {r.channel: r.value for r in readings_within(meter, 5.0, 2)[:2]} == {
        "n0/plug/command_plug": 63.0, "n0/plug/command_energy": 5_400_000.0,
    }  # fmt: skip


def test_a_reading_is_stamped_when_it_arrives_and_not_when_it_is_looked_at(opened: list[CommandMeter]) -> None:
    meter, context = run(opened, "echo 1; sleep 0.3; echo 2; sleep 10")
    time.sleep(0.8)
    looked_ns = context.clock.now_ns()
    first, second = meter.read()
    assert 0.2e9 < second.t_before_ns - first.t_before_ns < 0.45e9
    assert looked_ns - second.t_after_ns > 0.3e9


def test_the_programs_own_time_stamp_counts(opened: list[CommandMeter]) -> None:
    moment = time.time_ns() - 3 * 10**9
    meter, context = run(opened, f"echo {moment // 10**6} 50; sleep 10", channels={"wall": "2 W node"}, time="1", time_format="unix_ms")
    (reading,) = readings_within(meter, 5.0, 1)
    assert reading.source_clock == "realtime"
    assert reading.source_ns == pytest.approx(moment, abs=10**6)
    run_offset_ns = time.time_ns() - context.clock.now_ns()
    assert reading.t_before_ns + run_offset_ns == pytest.approx(moment, abs=20_000_000)


def test_a_time_stamp_of_another_zone_is_not_believed(opened: list[CommandMeter]) -> None:
    line = LOOP.format(line='echo "$(date -u -d "2 hours" +%Y-%m-%dT%H:%M:%S) 50"')
    meter, context = run(opened, line, channels={"wall": "2 W node"}, time="1", start_s=0.3)
    readings_within(meter, 0.5)
    assert [r.channel for r in meter.read()] == []
    assert any(event.code is EventCode.METER_ERROR and "another clock or another zone" in event.message for event in context.events)


@pytest.mark.parametrize("cell", ["N/A", "-", "unavailable", '\\"\\"'])
def test_no_value_is_no_reading_and_no_zero(opened: list[CommandMeter], cell: str) -> None:
    meter, context = run(opened, f'echo "7;x"; echo "{cell};x"; echo "8;x"; sleep 10', separator=";")
    assert [r.value for r in readings_within(meter, 5.0, 2)] == [7.0, 8.0]
    assert context.events == []


@pytest.mark.parametrize("cell", ["1,234.5", "12.5 kW", "0x10", "1_000", "inf", "12.5.3", "١٢", "1e999"])
def test_what_can_be_misread_is_reported_and_left_out(opened: list[CommandMeter], cell: str) -> None:
    meter, context = run(opened, f'echo "7;x"; echo "{cell};x"; echo "8;x"; sleep 10', separator=";")
    assert [r.value for r in readings_within(meter, 5.0, 2)] == [7.0, 8.0]
    assert [(e.code, e.channel) for e in context.events] == [(EventCode.METER_ERROR, "n0/command_wall")]


def test_a_heading_is_not_a_fault(opened: list[CommandMeter]) -> None:
    meter, context = run(opened, 'echo "# logger 1.0"; echo "watts volts"; echo 5; sleep 10')
    assert [r.value for r in readings_within(meter, 5.0, 1)] == [5.0]
    assert context.events == []


def test_a_program_that_ends_is_named_and_started_again_a_few_times(opened: list[CommandMeter]) -> None:
    meter, context = run(opened, "echo 5; echo bad fuse >&2; exit 3", restarts=2)
    assert [r.value for r in readings_within(meter, 3.0, 3)] == [5.0, 5.0, 5.0]
    readings_within(meter, 0.3)
    assert context.codes() == [EventCode.METER_ERROR, EventCode.METER_ERROR, EventCode.METER_UNAVAILABLE]
    assert "ended with status 3: bad fuse" in context.events[0].message
    assert readings_within(meter, 0.2) == []


def test_a_program_that_ends_before_its_first_reading_is_refused(opened: list[CommandMeter]) -> None:
    meter, _ = command("echo no such port >&2; exit 1")
    meter.discover()
    with pytest.raises(Unavailable, match="ended with status 1: no such port and gave no reading") as refusal:
        meter.open()
    assert refusal.value.reason is Reason.NO_READING


def test_the_program_and_its_children_end_with_the_meter(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    meter, _ = command(f'trap "" TERM; sleep 1000 & echo $$ $! > {pids}; while :; do echo 1; sleep 0.05; done')
    meter.discover()
    meter.open()
    meter.close()
    assert len(pids.read_text().split()) == 2
    for pid in pids.read_text().split():
        assert gone_within(int(pid), seconds=5.0)


def gone_within(pid: int, seconds: float) -> bool:
    """Whether a process ends in that time (a zombie that nobody has waited for yet has ended)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_the_program_dies_with_the_sampler_even_when_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "from tpb_meter_command import *; from tpb_core.testing.meter_context import RecordingContext; import os, signal\n"
        f"m = CommandMeter(CommandConfig(command=\"sh -c 'echo $$ > {pid_file}; echo 1; exec sleep 1000'\", "
        "channels={'wall': '1 W node'}), RecordingContext())\n"
        "m.discover(); m.open(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert gone_within(int(pid_file.read_text()), seconds=5.0)


@pytest.mark.parametrize(("options", "message"), [
    ({"channels": {"wall": "2 watts node"}}, "SOURCE UNIT"), ({"channels": {"wall": "2 W rackk"}}, "SCOPE"),
    ({"channels": {"wa ll": "2 W node"}}, "channel name"), ({"format": "regex", "pattern": "("}, "regular expression"),
    ({"format": "regex", "pattern": "x"}, "no group"), ({"time": "1", "time_zone": "Mars/Olympus"}, "time zone"),
])  # fmt: skip
def test_options_that_cannot_be_understood(options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        command("echo 1", **options)[0].discover()
    with pytest.raises(BadInput, match="arguments"):
        CommandMeter(CommandConfig(command="echo 'x", channels={"wall": "1 W node"}), RecordingContext()).discover()


class TestCommand(MeterSuite):
    @pytest.fixture
    def case(self, tmp_path: Path) -> MeterCase:
        state = tmp_path / "state"
        state.write_text("120 15\n")

        def break_second() -> str:
            replacement = tmp_path / "next"
            replacement.write_text("120 lost\n")
            os.replace(replacement, state)
            return "n0/plug/command_plug"

        config = {"command": shell(LOOP.format(line=f"cat {state}")), "restart_delay_s": 0.05, "averaging_ms": 0.0}
        return MeterCase(
            CommandMeter,
            CommandConfig(channels={"wall": "1 W node", "plug": "2 W outlet@plug"}, **config),  # type: ignore[arg-type]
            settle_s=3.0,
            true_watts={"n0/command_wall": 120.0, "n0/plug/command_plug": 15.0},
            break_channel=break_second,
            refusals={
                Reason.NOT_CONFIGURED: CommandConfig(),
                Reason.NOT_INSTALLED: CommandConfig(command="no-such-program-here", channels={"wall": "1 W node"}),
            },
        )
