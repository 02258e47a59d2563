"""The walk through a controller's sensor repository. Records that give no watts cost one request each, as far as the controller allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tpb_meter_ipmi.link import CompletionError, Link
from tpb_meter_ipmi.sdr import FULL_RECORD, HEAD, PowerSensor, is_watts, parse_record

_STORAGE, _RESERVE, _GET = 0x0A, 0x22, 0x23
_LAST, _FIRST = 0xFFFF, 0x0000
_MOST_RECORDS = 2000
_RESERVATION_CANCELLED = 0xC5
_CHUNKS = (32, 22, 16, 8)
"""Bytes asked for at once; controllers that cannot return so many get smaller requests."""
_HEADER = 5
_BMC = 0x20
_NO_ANSWER = 0xCE


@dataclass
class Found:
    """Power sensors, and what was left out with the reason."""

    sensors: list[PowerSensor] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def power_sensors(link: Link, out_of_time: Callable[[], bool]) -> Found:
    """All sensors in watts of the controller itself. Raises LinkError; a controller without a repository has none."""
    found = Found()
    reader = _Reader(link)
    record_id, seen = _FIRST, set[int]()
    while record_id != _LAST and record_id not in seen and len(seen) < _MOST_RECORDS:
        if out_of_time():
            found.left_out.append(f"the sensors after the first {len(seen)}: reading them takes longer than meter.ipmi.sdr_s")
            break
        seen.add(record_id)
        try:
            next_id, head = reader.head(record_id)
            if is_watts(head):
                _, rest = reader.part(record_id, HEAD, max(0, head[4] + _HEADER - HEAD))
                _take(head + rest, found)
        except CompletionError as refusal:
            found.left_out.append(f"the sensors from record {record_id} on: {refusal}")
            break
        record_id = next_id
    return found


def _take(record: bytes, found: Found) -> None:
    try:
        sensor = parse_record(record)
    except ValueError as error:
        found.left_out.append(str(error))
        return
    if sensor.owner != _BMC or sensor.lun:
        found.left_out.append(f"{sensor.name}: belongs to another controller (0x{sensor.owner:02x}, LUN {sensor.lun})")
    elif all(sensor.number != other.number for other in found.sensors):
        found.sensors.append(sensor)


class _Reader:
    """Partial reads, under a reservation where the controller wants one."""

    def __init__(self, link: Link) -> None:
        self._link, self._chunk, self._reservation = link, 0, b"\0\0"

    def head(self, record_id: int) -> tuple[int, bytes]:
        """(id of the next record, its first bytes): `HEAD` of them, or the header alone where the record is no sensor's.

        Some controllers refuse to read beyond the end of a short record: then the header says whether it is worth a second try.
        """
        try:
            return self.part(record_id, 0, HEAD)
        except CompletionError:
            next_id, header = self._ask(record_id, 0, _HEADER)
        while len(header) == _HEADER and header[3] == FULL_RECORD:
            try:
                return self.part(record_id, 0, HEAD)
            except CompletionError:
                if self._chunk + 1 == len(_CHUNKS):
                    raise
                self._chunk += 1
        return next_id, header

    def part(self, record_id: int, start: int, length: int) -> tuple[int, bytes]:
        """(id of the next record, up to `length` bytes of a record from `start` on). Raises CompletionError and LinkError."""
        text, next_id = b"", _LAST
        while len(text) < length:
            wanted = min(_CHUNKS[self._chunk], length - len(text))
            next_id, piece = self._ask(record_id, start + len(text), wanted)
            text += piece
            if len(piece) < wanted:  # a record that is shorter than asked for
                break
        return next_id, text

    def _ask(self, record_id: int, start: int, length: int) -> tuple[int, bytes]:
        if start and self._reservation == b"\0\0":
            self._reserve()
        try:
            return self._read(record_id, start, length)
        except CompletionError as refusal:
            if refusal.code != _RESERVATION_CANCELLED:
                raise
        self._reserve()
        return self._read(record_id, start, length)

    def _reserve(self) -> None:
        self._reservation = self._link.request(_STORAGE, _RESERVE)[:2].ljust(2, b"\0")

    def _read(self, record_id: int, start: int, length: int) -> tuple[int, bytes]:
        request = self._reservation + bytes([record_id & 0xFF, record_id >> 8, start & 0xFF, length & 0xFF])
        answer = self._link.request(_STORAGE, _GET, request)
        if len(answer) < 2:
            raise CompletionError(_NO_ANSWER)
        return answer[0] | answer[1] << 8, answer[2 : 2 + length]
