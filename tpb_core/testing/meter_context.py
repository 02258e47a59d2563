"""A meter's surroundings without a run: a real clock with an origin of its own, and a list of the events that the meter reported."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from tpb_core.api import EventCode, MeterContext


class ReportedEvent(NamedTuple):
    """One call of `context.report_event`."""

    code: EventCode
    message: str
    channel: str | None


class ShiftedClock:
    """CLOCK_MONOTONIC moved by an offset: a meter that stamps with any other clock is found out."""

    virtual = False

    def __init__(self, offset_ns: int = 10**15) -> None:
        self.offset_ns = offset_ns

    def now_ns(self) -> int:
        """The present time on this clock."""
        return time.monotonic_ns() + self.offset_ns

    def sleep_until(self, t_ns: int) -> None:
        """Sleep in real time; returns at once where the time has passed."""
        time.sleep(max(0, t_ns - self.now_ns()) * 1e-9)


class RecordingContext(MeterContext):
    """A `MeterContext` that keeps what was reported in `events`."""

    def __init__(self, environ: Mapping[str, str] | None = None, node: str = "n0", machine_id: str = "machine-under-test") -> None:
        self.events: list[ReportedEvent] = []
        super().__init__(
            clock=ShiftedClock(),
            run_id="conformance",
            report_event=lambda code, message, channel: self.events.append(ReportedEvent(code, message, channel)),
            node=node,
            machine_id=machine_id,
            environ=environ or {},
        )

    def codes(self) -> list[EventCode]:
        """Codes of the events so far."""
        return [event.code for event in self.events]
