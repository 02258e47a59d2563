"""The command meter: starts the program, turns its lines into readings, starts it again when it dies, within limits."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass

from tpb_core.api import EVIDENCE, BadInput, Channel, EventCode, Meter, MeterConfig, MeterContext, Reading, Reason, Unavailable, option
from tpb_core.api.described import Column, channel_of, parse_column
from tpb_core.api.timestamps import StampFormat
from tpb_meter_command.line import Cells, column_cells, json_cells, pattern_cells, values_of
from tpb_meter_command.program import Program

_PATIENCE_LINES = 20
"""Lines without a number before the first reading that are taken for a heading."""
_LATEST_S = 120.0
"""A line stamped longer ago than this (or in the future) is not believed: the clocks of the program and this machine differ."""


@dataclass
class CommandConfig(MeterConfig):
    """Options of the command meter."""

    name: str = option("command", help="entry-point name of the meter")
    interval_ms: float = option(100.0, help="time between two looks at the output", unit="ms")
    command: str = option("", help="the program with its arguments, quoted as in a shell; it goes on printing lines")
    channels: dict[str, str] = option({}, help="what it prints, {NAME: SOURCE UNIT SCOPE[:ROLE][@DOMAIN]}, for example {wall: 2 W node}")
    format: str = option("columns", help="how a line is read; the source is a column from 1, a group, or a dotted key",
                         choices=("columns", "regex", "json"))  # fmt: skip
    separator: str = option("", help="between columns; empty: blanks")
    pattern: str = option("", help="regular expression with groups, for format=regex")
    decimal: str = option(".", help="decimal separator", choices=(".", ","))
    time: str = option("", help="source of the program's own time stamp; empty: stamped on receipt")
    time_format: str = option("iso", help="iso, unix_s, unix_ms, unix_us, unix_ns, or a strptime pattern")
    time_zone: str = option("UTC", help="zone of stamps without an offset, for example Europe/Berlin")
    averaging_ms: float | None = option(None, help="each power is the mean over this time; 0: instantaneous; none: unknown", unit="ms")
    update_ms: float | None = option(None, help="time between two new values", unit="ms")
    delay_ms: float | None = option(None, help="how late a value is printed", unit="ms")
    max_power_w: float | None = option(None, help="the most that any channel can plausibly draw", unit="W")
    evidence: str = option("measured", help="how the figures come about", choices=EVIDENCE)
    restarts: int = option(3, help="how often the program is started again when it ends")
    restart_delay_s: float = option(1.0, help="pause before it is started again", unit="s")
    start_s: float = option(3.0, help="longest wait for the first reading; a program that ends before it is refused", unit="s")


class CommandMeter(Meter[CommandConfig]):
    """Readings from the lines of a program."""

    config_class = CommandConfig

    def __init__(self, config: CommandConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._program: Program | None = None
        self._arguments: list[str] = []
        self._columns: dict[str, Column] = {}
        """By channel name."""
        self._cells: Cells = json_cells
        self._waiting: list[Reading] = []
        self._failing: set[str] = set()
        self._had_reading = False
        self._blank_lines = 0
        self._restarts_left = config.restarts
        self._restart_at_s: float | None = None

    def discover(self) -> list[Channel]:
        """The declared channels. Raises Unavailable (`not_configured`, `not_installed`) and BadInput. Does not start the program."""
        config = self.config
        if not config.command or not config.channels:
            raise Unavailable(
                "the command meter needs a program and what its numbers mean",
                reason=Reason.NOT_CONFIGURED,
                fix="meter.command.command='PROGRAM ARGUMENTS' 'meter.command.channels={wall: 1 W node}'",
            )
        self._arguments = _split(config.command)
        if shutil.which(self._arguments[0]) is None:
            raise Unavailable(
                f"the program {self._arguments[0]!r} is not there or not executable",
                reason=Reason.NOT_INSTALLED,
                fix="Install it, or give its full path in meter.command.command.",
            )
        self._cells = self._cells_of_format()
        self._stamps = StampFormat(config.time_format, config.time_zone)
        device = f"{self.context.machine_id}/command/{self._arguments[0].rpartition('/')[2]}"
        self._columns, channels = {}, []
        for name, text in config.channels.items():
            column = parse_column(name, text, "meter.command.channels")
            channel = channel_of(column, node=self.context.node, meter="command", device=device, evidence=config.evidence)
            channel.update_ms, channel.delay_ms, channel.max_power_w = config.update_ms, config.delay_ms, config.max_power_w
            channel.averaging_ms = 0.0 if channel.kind == "energy_counter" else config.averaging_ms
            self._columns[channel.channel] = column
            channels.append(channel)
        return channels

    def _cells_of_format(self) -> Cells:
        if self.config.format == "regex":
            return pattern_cells(self.config.pattern)
        return json_cells if self.config.format == "json" else column_cells(self.config.separator)

    def open(self) -> None:
        """Start the program and wait up to `start_s` for a first reading. Raises Unavailable where it ends without one."""
        if not self._columns:
            self.discover()
        self._restarts_left, self._restart_at_s = self.config.restarts, None
        try:
            self._program = Program(self._arguments, self.context.clock.now_ns)
        except OSError as error:
            raise Unavailable(
                f"{self._arguments[0]!r} does not start: {error}", reason=Reason.NOT_INSTALLED, fix="Run it by hand."
            ) from error
        deadline = time.monotonic() + self.config.start_s
        while not self._waiting and time.monotonic() < deadline:
            ended = not self._program.running
            self._waiting += self._take_lines(self._program)
            if ended and not self._waiting:
                ending = self._program.ending()
                self.close()
                raise Unavailable(
                    f"the program {ending} and gave no reading", reason=Reason.NO_READING, fix=f"Run it by hand: {self.config.command}"
                )
            time.sleep(0.005)

    def read(self) -> Iterable[Reading]:
        """Readings of all lines that came since the last call. A program that ended is started again, a bounded number of times."""
        readings, self._waiting = self._waiting, []
        if self._program is not None:
            ended = not self._program.running
            readings += self._take_lines(self._program)
            if ended:
                self._ended(self._program)
        elif self._restart_at_s is not None and time.monotonic() >= self._restart_at_s:
            self._start_again()
        return readings

    def close(self) -> None:
        """End the program and all that it started."""
        program, self._program, self._restart_at_s = self._program, None, None
        if program is not None:
            program.stop()

    def _ended(self, program: Program) -> None:
        ending = program.ending()
        self.close()
        if self._restarts_left > 0:
            self._restarts_left -= 1
            self._restart_at_s = time.monotonic() + self.config.restart_delay_s
            message = f"the program {ending}; starting it again ({self._restarts_left} more times)"
            self.context.report_event(EventCode.METER_ERROR, message, None)
        else:
            message = f"the program {ending}; it is not started again, its channels end here"
            self.context.report_event(EventCode.METER_UNAVAILABLE, message, None)

    def _start_again(self) -> None:
        self._restart_at_s = None
        try:
            self._program = Program(self._arguments, self.context.clock.now_ns)
        except OSError as error:
            self.context.report_event(EventCode.METER_UNAVAILABLE, f"the program does not start again: {error}", None)

    def _take_lines(self, program: Program) -> list[Reading]:
        readings: list[Reading] = []
        for arrival_ns, line in program.take():
            readings += self._readings_of(arrival_ns, line)
        return readings

    def _readings_of(self, arrival_ns: int, line: str) -> list[Reading]:
        cells = self._cells(line)
        if cells is None:
            return []
        values, problems = values_of(cells, list(self._columns.values()), self.config.decimal)
        if problems and not self._had_reading:
            self._blank_lines += 1
            if self._blank_lines < _PATIENCE_LINES:
                problems = {}  # a heading
        t_ns, source_ns = arrival_ns, None
        if self.config.time and values:
            try:
                source_ns = self._stamps.parse(cells.get(self.config.time, "")).first_ns
                t_ns = self._on_run_clock(source_ns, arrival_ns)
            except ValueError as error:
                values, problems = {}, {column.name: f"time stamp: {error}" for column in self._columns.values()}
        readings = []
        for name, column in self._columns.items():
            if column.name in problems:
                self._fails(name, f"{problems[column.name]}, in the line {line[:80]!r}")
            elif column.name in values:
                self._failing.discard(name)
                readings.append(Reading(name, t_ns, t_ns, values[column.name], source_ns, "realtime" if source_ns is not None else None))
        self._had_reading |= bool(readings)
        return readings

    def _on_run_clock(self, source_ns: int, arrival_ns: int) -> int:
        """A stamp of the program's, which runs on this machine's realtime clock, as run time. Raises ValueError when it is far off."""
        age_ns = time.time_ns() - source_ns - (self.context.clock.now_ns() - arrival_ns)
        if not -1_000_000_000 <= age_ns <= _LATEST_S * 1e9:
            raise ValueError(f"{age_ns * 1e-9:.1f} s before its arrival: another clock or another zone than {self.config.time_zone}")
        return arrival_ns - max(age_ns, 0)

    def _fails(self, name: str, message: str) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self.context.report_event(EventCode.METER_ERROR, message, name)


def _split(command: str) -> list[str]:
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise BadInput(f"meter.command.command={command!r} cannot be split into arguments: {error}", "Quote it as in a shell.") from error
    if not arguments:
        raise BadInput("meter.command.command is blank", "Give a program.")
    return arguments
