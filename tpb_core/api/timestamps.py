"""Time stamps as instruments and exports write them, to nanoseconds since 1970 (UTC), safe across daylight-saving changes.

Formats: `iso` (ISO 8601, with or without an offset), `unix_s`, `unix_ms`, `unix_us`, `unix_ns`, or a strptime pattern. Stamps without an
offset are local times of a zone; in the hour that a clock change repeats, the order of the log decides which of the two it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from tpb_core.api.errors import BadInput

_UNIX_NS = {"unix_s": 10**9, "unix_ms": 10**6, "unix_us": 10**3, "unix_ns": 1}
_DECIMAL = re.compile(r"(\d{1,19})(?:\.(\d{1,12}))?", re.ASCII)
_FRACTION = re.compile(r"(\d{2}:\d{2}:\d{2})[.,](\d{1,9})(?=\D|$)", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})(?:[.,](\d{1,9}))?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_NS = 2**62
"""Year 2116: beyond it a unit was mistaken."""


@dataclass(frozen=True)
class Stamp:
    """One time stamp: nanoseconds since 1970 for both readings of an ambiguous local time (equal where it is not ambiguous)."""

    first_ns: int
    second_ns: int

    @property
    def ambiguous(self) -> bool:
        """Whether the local time occurred twice."""
        return self.first_ns != self.second_ns


class StampFormat:
    """How one log writes its times."""

    def __init__(self, format: str = "iso", zone: str | None = None) -> None:
        """`zone` is an IANA name (`Europe/Berlin`) for stamps without an offset. Raises BadInput for an unknown zone."""
        self.format = format
        self.zone: tzinfo | None = None
        if zone is not None:
            try:
                self.zone = UTC if zone.upper() == "UTC" else ZoneInfo(zone)
            except (KeyError, ValueError, OSError) as error:
                raise BadInput(f"there is no time zone {zone!r}", "Give an IANA name such as Europe/Berlin, or UTC.") from error

    def parse(self, text: str) -> Stamp:
        """One stamp. Raises ValueError saying what is wrong: not in the format, no zone known, a local time that a change skipped."""
        text = text.strip().strip("\"'")
        if self.format in _UNIX_NS:
            ns = _unix_ns(text, _UNIX_NS[self.format])
            return Stamp(ns, ns)
        fraction_ns = 0
        if self.format == "iso" and len(text) < len("20261120T12"):
            raise ValueError(f"{text!r} has no time of day")
        if self.format == "iso" and (match := _FRACTION.search(text)):
            fraction_ns = int(match[2].ljust(9, "0"))
            text = text[: match.end(1)] + text[match.end(2) :]
        try:
            moment = datetime.fromisoformat(text) if self.format == "iso" else datetime.strptime(text, self.format)
        except ValueError as error:
            raise ValueError(f"{text!r} is no time in the format {self.format!r}") from error
        return self._resolve(moment, text, fraction_ns)

    def _resolve(self, moment: datetime, text: str, fraction_ns: int) -> Stamp:
        if moment.year < 1971 or moment.year > 2100:
            raise ValueError(f"{text!r} lies outside 1971 to 2100")
        if moment.tzinfo is not None:
            ns = _since_epoch_ns(moment) + fraction_ns
            return Stamp(ns, ns)
        if self.zone is None:
            raise ValueError(f"{text!r} has no offset from UTC, and no zone was given")
        first, second = (moment.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1))
        if first.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) != moment:
            raise ValueError(f"the local time {text!r} does not exist: the clock was put forward over it")
        return Stamp(_since_epoch_ns(first) + fraction_ns, _since_epoch_ns(second) + fraction_ns)


def parse_elapsed_ns(text: str, format: str) -> int:
    """Nanoseconds since a log began, from `elapsed_s` (also as H:MM:SS) or `elapsed_ms`. Raises ValueError for anything else."""
    text = text.strip().strip("\"'")
    clock = _CLOCK.fullmatch(text) if format == "elapsed_s" else None
    if clock:
        return (int(clock[1] or 0) * 3600 + int(clock[2]) * 60 + int(clock[3])) * 10**9 + int((clock[4] or "0").ljust(9, "0"))
    match = _DECIMAL.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no elapsed time ({format})")
    unit_ns = 10**9 if format == "elapsed_s" else 10**6
    fraction = match[2] or ""
    elapsed_ns = int(match[1]) * unit_ns + (int(fraction) * unit_ns // 10 ** len(fraction) if fraction else 0)
    if elapsed_ns >= _LATEST_NS:
        raise ValueError(f"{text!r} is longer than any log")
    return elapsed_ns


def in_order(stamps: Sequence[Stamp]) -> list[int]:
    """Nanoseconds since 1970 of the stamps of one log, in the order in which they were written.

    Of an ambiguous stamp that reading is taken which continues the log with the smaller step forward. Raises ValueError where the log
    lies wholly inside the repeated hour without running through it twice, so that nobody can tell.
    """
    known = next((i for i, stamp in enumerate(stamps) if not stamp.ambiguous), None)
    if known is None:
        return _wholly_ambiguous(stamps)
    resolved = [stamp.first_ns for stamp in stamps]
    for i in range(known - 1, -1, -1):
        candidates = [ns for ns in (stamps[i].second_ns, stamps[i].first_ns) if ns <= resolved[i + 1]]
        resolved[i] = candidates[0] if candidates else stamps[i].first_ns
    for i in range(known + 1, len(stamps)):
        candidates = [ns for ns in (stamps[i].first_ns, stamps[i].second_ns) if ns >= resolved[i - 1]]
        resolved[i] = candidates[0] if candidates else stamps[i].second_ns
    return resolved


def _wholly_ambiguous(stamps: Sequence[Stamp]) -> list[int]:
    turns = [i for i in range(1, len(stamps)) if stamps[i].first_ns < stamps[i - 1].first_ns]
    if stamps and len(turns) != 1:
        raise ValueError("all time stamps lie in the hour that the clock change repeats: give stamps with an offset, or in UTC")
    return [stamp.second_ns if turns and i >= turns[0] else stamp.first_ns for i, stamp in enumerate(stamps)]


def _unix_ns(text: str, ns_per_unit: int) -> int:
    match = _DECIMAL.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is no number of seconds, milliseconds, ... since 1970")
    fraction = match[2] or ""
    ns = int(match[1]) * ns_per_unit + (int(fraction) * ns_per_unit // 10 ** len(fraction) if fraction else 0)
    if not 31_536_000 * 10**9 <= ns < _LATEST_NS:
        raise ValueError(f"{text!r} lies outside 1971 to 2116 in this unit")
    return ns


def _since_epoch_ns(moment: datetime) -> int:
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
