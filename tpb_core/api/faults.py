"""What goes wrong while a meter reads, told without a flood: the first time at once, then with a count, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.meter import ReportEvent

QUIET_NS = 10_000_000_000


@dataclass
class _Trouble:
    message: str
    told_ns: int
    untold: int = 0


class Faults:
    """Reports events of one meter. Every occurrence is counted in some message; `flush` tells the rest."""

    def __init__(self, report: ReportEvent, clock: Clock) -> None:
        self._report, self._clock = report, clock
        self._open: dict[tuple[str, EventCode], _Trouble] = {}

    def happened(self, code: EventCode, channel: str, message: str) -> None:
        """One reading of a channel failed in this way."""
        key, now_ns = (channel, code), self._clock.now_ns()
        trouble = self._open.get(key)
        if trouble is None:
            self._open[key] = _Trouble(message, now_ns)
            self._report(code, message, channel)
            return
        trouble.message, trouble.untold = message, trouble.untold + 1
        if now_ns - trouble.told_ns >= QUIET_NS:
            self._tell(key, trouble, now_ns)

    def recovered(self, channel: str) -> None:
        """The channel was read again after `METER_ERROR`; the next failure is told at once."""
        if not self._open:  # the usual case, once a reading
            return
        trouble = self._open.pop((channel, EventCode.METER_ERROR), None)
        if trouble is not None:
            failed = f"; {trouble.untold + 1} readings failed since it was told" if trouble.untold else ""
            self._report(EventCode.METER_ERROR, f"reads again{failed}", channel)

    def flush(self) -> None:
        """Tell what was counted and not told yet."""
        for key, trouble in self._open.items():
            if trouble.untold:
                self._tell(key, trouble, self._clock.now_ns())

    def _tell(self, key: tuple[str, EventCode], trouble: _Trouble, now_ns: int) -> None:
        channel, code = key
        self._report(code, f"{trouble.message} ({trouble.untold} more times)", channel)
        trouble.untold, trouble.told_ns = 0, now_ns
