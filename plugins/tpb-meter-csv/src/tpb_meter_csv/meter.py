"""The log meter during a run: follows a log that another program writes, and delivers its rows as they appear."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from tpb_core.api import BadInput, Channel, EventCode, Meter, MeterContext, Reading, Reason, Unavailable
from tpb_core.api.described import Column, channel_of
from tpb_core.api.timestamps import Stamp
from tpb_meter_csv.config import CsvConfig, columns_of
from tpb_meter_csv.layout import Layout, LogRow, Problem, decode, find_delimiter

_HEAD_BYTES = 65_536
_LONGEST_LINE = 65_536
_MOST_BYTES_A_LOOK = 4 << 20


class CsvMeter(Meter[CsvConfig]):
    """Rows that are appended to a log while the run goes on. The log has to show true time; other clocks are mapped after the run."""

    config_class = CsvConfig

    def __init__(self, config: CsvConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._columns: dict[str, Column] = {}
        """By channel name."""
        self._layout: Layout | None = None
        self._fd: int | None = None
        self._position = 0
        self._rest = b""
        self._line = 0
        self._failing: set[str] = set()

    def discover(self) -> list[Channel]:
        """The declared columns. Raises Unavailable (`not_configured`, `unreachable`) and BadInput."""
        config = self.config
        columns = columns_of(config)
        if config.clock != "realtime" or config.time_format.startswith("elapsed"):
            raise BadInput(
                "a log without true time cannot be followed during a run",
                "Join it when the run is over, with meter.csv.clock=anchors or meter.csv.clock=correlation.",
            )
        path = Path(config.path)
        try:
            with path.open("rb") as stream:
                head = stream.read(_HEAD_BYTES)
        except OSError as error:
            fix = "Start the logger first; check meter.csv.path."
            raise Unavailable(f"the log {path} cannot be read: {error.strerror}", reason=Reason.UNREACHABLE, fix=fix) from error
        layout = Layout(config, columns)
        lines = decode(head).splitlines()
        layout.delimiter = config.delimiter or find_delimiter([line for line in lines if line.strip()], config.decimal)
        if layout.needs_heading and not any(layout.meet_heading(layout.cells(line)) for line in lines if _has_cells(layout, line)):
            raise BadInput(f"{path}: no line names the columns", "Give the headings as they stand in the file, or numbers from 1.")
        self._layout = layout
        device = f"{self.context.machine_id}/log/{path.name}"
        self._columns = {}
        channels = []
        for column in columns:
            channel = channel_of(column, node=self.context.node, meter="csv", device=device, evidence=config.evidence)
            channel.update_ms, channel.max_power_w = config.update_ms, config.max_power_w
            channel.averaging_ms = 0.0 if channel.kind == "energy_counter" else config.averaging_ms
            channel.delay_ms, channel.delay_u_ms = 0.0, config.clock_u_s * 1e3
            channel.point = config.point if channel.kind in ("power", "energy_counter") else None
            channel.extensions = {"x_log": config.path, "x_clock": "realtime"}
            self._columns[channel.channel] = column
            channels.append(channel)
        return channels

    def open(self) -> None:
        """Open the log at its end: what was recorded before the run is not of interest."""
        if not self._columns:
            self.discover()
        if self._fd is None:
            self._fd = os.open(self.config.path, os.O_RDONLY | os.O_CLOEXEC)
            self._position = os.fstat(self._fd).st_size
            self._rest = b""

    def read(self) -> Iterable[Reading]:
        """Readings of the rows that were appended since the last call, stamped with their own time on the run clock."""
        readings: list[Reading] = []
        for line in self._new_lines():
            self._line += 1
            readings += self._readings_of(line)
        return readings

    def close(self) -> None:
        """Close the log."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _new_lines(self) -> list[str]:
        if self._fd is None:
            return []
        if os.fstat(self._fd).st_size < self._position:
            self.context.report_event(EventCode.METER_ERROR, f"{self.config.path} was cut; following it from its start", None)
            self._position, self._rest = 0, b""
        raw = os.pread(self._fd, _MOST_BYTES_A_LOOK, self._position)
        self._position += len(raw)
        if not raw:
            self._follow_rotation()
        *lines, rest = (self._rest + raw).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = rest if len(rest) <= _LONGEST_LINE else b""
        return [decode(line) for line in lines if line.strip()]

    def _follow_rotation(self) -> None:
        """Go over to a new file of the same name once the old one is read to its end."""
        assert self._fd is not None, "called between open and close"
        try:
            fresh = os.stat(self.config.path)
        except OSError:
            return
        if fresh.st_ino != os.fstat(self._fd).st_ino:
            os.close(self._fd)
            self._fd = os.open(self.config.path, os.O_RDONLY | os.O_CLOEXEC)
            self._position, self._rest = 0, b""

    def _readings_of(self, line: str) -> list[Reading]:
        assert self._layout is not None, "discover comes first"
        try:
            row, problems = self._layout.row(self._line, self._layout.cells(line))
        except ValueError as error:
            row, problems = None, [Problem(self._line, str(error))]
        readings: list[Reading] = []
        if row is not None:
            source_ns = self._moment(row.stamp)
            age_ns = time.time_ns() - (source_ns - round(self.config.clock_ahead_s * 1e9))
            t_ns = self.context.clock.now_ns() - age_ns
            if age_ns < -5 * 10**9 or age_ns > 3600 * 10**9:
                problems.append(Problem(self._line, f"its time is {age_ns * 1e-9:.0f} s before now: wrong clock or meter.csv.time_zone"))
            else:
                readings = self._values(row, min(t_ns, self.context.clock.now_ns()), source_ns)
        self._report(problems)
        return readings

    def _values(self, row: LogRow, t_ns: int, source_ns: int) -> list[Reading]:
        names = [name for name, column in self._columns.items() if column.name in row.values]
        self._failing -= set(names)
        return [Reading(name, t_ns, t_ns, row.values[self._columns[name].name], source_ns, "realtime") for name in names]

    def _moment(self, stamp: Stamp) -> int:
        """Of two readings of a local time in the repeated hour, the one nearer to now."""
        now_ns = time.time_ns()
        return min((stamp.first_ns, stamp.second_ns), key=lambda ns: abs(now_ns - ns))

    def _report(self, problems: list[Problem]) -> None:
        for problem in problems:
            column = problem.what.partition(":")[0]
            channel = next((name for name, c in self._columns.items() if c.name == column), None)
            if (channel or "row") not in self._failing:
                self._failing.add(channel or "row")
                self.context.report_event(EventCode.METER_ERROR, f"{self.config.path}, new line {problem}", channel)


def _has_cells(layout: Layout, line: str) -> bool:
    try:
        return bool(layout.cells(line))
    except ValueError:
        return False
