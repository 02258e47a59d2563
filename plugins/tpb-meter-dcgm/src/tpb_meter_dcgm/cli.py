"""The way through `dcgmi dmon`: one long-lived process that prints all fields of all entities every interval."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence

from tpb_core.api import Reason, Unavailable
from tpb_core.api.clock import Clock
from tpb_meter_dcgm.config import DcgmConfig
from tpb_meter_dcgm.discovery import Listed, parse_discovery
from tpb_meter_dcgm.dmon import Row, is_header, parse_row
from tpb_meter_dcgm.entity import Entity, Value
from tpb_meter_dcgm.fields import Field, wanted
from tpb_meter_dcgm.local_driver import local_driver
from tpb_meter_dcgm.stream import LineStream

CYCLES = 3
RESTART_NS = 5_000_000_000


class DcgmiBackend:
    """Values come without a stamp: each was taken within one interval before its line was received."""

    name = "dcgmi"

    def __init__(self, config: DcgmConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self.period_ms = max(1.0, round(config.interval_ms))
        self._fields: tuple[Field, ...] = ()
        self._entities = ""
        self._stream: LineStream | None = None
        self._complaints: list[str] = []
        self._restart_ns = 0

    def discover(self) -> list[Entity]:
        """Raises Unavailable: `not_installed` without the program, `unreachable` without a host engine, `no_sensor` without entities."""
        program = shutil.which(self._config.dcgmi)
        if program is None:
            fix = "Install datacenter-gpu-manager-4, or set meter.dcgm.dcgmi=PATH"
            raise Unavailable(f"the program {self._config.dcgmi!r} was not found", reason=Reason.NOT_INSTALLED, fix=fix)
        listed = parse_discovery(self._run(["discovery", "-l"]))
        if not listed:
            raise Unavailable("DCGM lists no GPU and no CPU", reason=Reason.NO_SENSOR, fix="dcgmi discovery -l")
        self._fields = wanted(profiling=self._config.profiling, grace=any(entity.kind == "cpu" for entity in listed))
        self._entities = ",".join(str(entity.index) if entity.kind == "gpu" else f"cpu:{entity.index}" for entity in listed)
        rows = [parse_row(line, self._fields) for line in self._run([*self._dmon(), "-c", str(CYCLES)]).splitlines()]
        driver = None if self._config.host else local_driver()
        return [_entity(entity, [row for row in rows if row], self._fields, driver) for entity in listed]

    def open(self) -> None:
        """Start the stream."""
        self._stream = self._start()

    def read(self) -> Iterable[Value]:
        """Values of the rows received since the last call. A stream that ended is started again, not more often than every 5 s."""
        if self._stream is None:
            return []
        ended = self._stream.ended
        values: list[Value] = []
        for received_ns, line in self._stream.take():
            row = parse_row(line, self._fields)
            if row is not None:
                values += self._values(row, received_ns)
            elif line.strip() and not is_header(line):
                self._complaints.append(f"dcgmi: {line.strip()[:200]}")
        if ended is not None:
            self._restart(ended)
        return values

    def complaints(self) -> list[str]:
        """Lines that were no rows, and ends of the stream."""
        told, self._complaints = self._complaints, []
        return told

    def close(self) -> None:
        """Stop the stream."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _values(self, row: Row, received_ns: int) -> list[Value]:
        earliest_ns = received_ns - round(self.period_ms * 1e6)
        return [
            Value(row.kind, row.number, field, value, earliest_ns, received_ns)
            for field, value in zip(self._fields, row.values, strict=True)
            if value is not None
        ]

    def _restart(self, status: int) -> None:
        now_ns = self._clock.now_ns()
        if now_ns < self._restart_ns:
            return
        self._restart_ns = now_ns + RESTART_NS
        self._complaints.append(f"dcgmi ended with status {status}; started again")
        self.close()
        try:
            self._stream = self._start()
        except Unavailable as unavailable:
            self._complaints.append(unavailable.what)

    def _start(self) -> LineStream:
        try:
            return LineStream(self._command(self._dmon()), self._clock)
        except OSError as error:
            raise Unavailable(f"dcgmi cannot be started: {error}", reason=Reason.NOT_INSTALLED, fix="dcgmi --version") from error

    def _dmon(self) -> list[str]:
        numbers = ",".join(str(field.number) for field in self._fields)
        return ["dmon", "-e", numbers, "-d", str(round(self.period_ms)), "-i", self._entities]

    def _command(self, arguments: Sequence[str]) -> list[str]:
        host = ["--host", self._config.host] if self._config.host else []
        return [self._config.dcgmi, arguments[0], *host, *arguments[1:]]

    def _run(self, arguments: Sequence[str]) -> str:
        """Output of a dcgmi command. Raises Unavailable where it fails or hangs."""
        command = self._command(arguments)
        fix = "Start the host engine (sudo systemctl start nvidia-dcgm), then: dcgmi discovery -l"
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=self._config.start_s, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"dcgmi does not answer: {error}", reason=Reason.UNREACHABLE, fix=fix) from error
        if done.returncode:
            words = " ".join((done.stdout + done.stderr).split())[:200]
            raise Unavailable(f"dcgmi {arguments[0]} failed: {words}", reason=Reason.UNREACHABLE, fix=fix)
        return done.stdout


def _entity(listed: Listed, rows: Sequence[Row], fields: Sequence[Field], driver: str | None) -> Entity:
    """What an entity offers: the fields that had a value in any of the first cycles."""
    own = [row for row in rows if (row.kind, row.number) == (listed.kind, listed.index)]
    offered = frozenset(field.number for row in own for field, value in zip(fields, row.values, strict=True) if value is not None)
    return Entity(listed.kind, listed.index, offered, listed.uuid, listed.model, driver=driver if listed.kind == "gpu" else None)
