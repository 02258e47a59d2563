"""Meters read for the eye alone: no bundle, no spool, only the present value of every channel and the rate of every counter."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from tpb_core.api.channel import Channel, Reading
from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.errors import Unavailable
from tpb_core.api.meter import Meter, MeterConfig, MeterContext
from tpb_core.api.units import NS_PER_MS, NS_PER_S
from tpb_core.run.device_store import DeviceStore, apply_findings
from tpb_core.run.open_meter import open_meter
from tpb_core.run.roles import settle_roles

COUNTERS = ("energy_counter", "counter", "time_counter")
RATE_OVER_NS = NS_PER_S
"""Counters refresh every tenth of a second or so; a rate over less would show that and not the power."""
STALE_NS = 3 * NS_PER_S
MOST_EVENTS = 5


@dataclass(frozen=True)
class Shown:
    """One channel now: its value, for counters the rate a second (watts of an energy counter), and how old that is."""

    channel: Channel
    value: float | None
    rate: float | None
    age_s: float | None

    @property
    def stale(self) -> bool:
        """Whether the last reading is older than it should be."""
        return self.age_s is None or self.age_s * NS_PER_S > STALE_NS


@dataclass
class _Open:
    meter: Meter[MeterConfig]
    interval_ns: int
    next_ns: int = 0


class LiveMeters:
    """Open what works here; `read_due` reads, `shown` tells. One thread."""

    def __init__(self, meters: dict[str, dict[str, Any]], clock: Clock, context: dict[str, Any]) -> None:
        """`context` holds `run_id`, `node`, `machine_id`, `environ` of `MeterContext`. Raises BadInput for options that cannot be."""
        self._clock = clock
        self.events: deque[str] = deque(maxlen=MOST_EVENTS)
        """The last things that meters reported."""
        self.unavailable: list[tuple[str, str, str]] = []
        """Meter, what is the matter, what to type."""
        self._context = MeterContext(clock=clock, report_event=self._event, **context)
        self._open: dict[str, _Open] = {}
        self.channels: list[Channel] = []
        self._last: dict[str, deque[tuple[int, float]]] = {}
        for name, options in meters.items():
            try:
                meter, found = open_meter(name, options, self._context)
            except Unavailable as error:
                self.unavailable.append((name, f"{error.reason}: {error.what}", error.fix or ""))
                continue
            self._open[name] = _Open(meter, round(float(options.get("interval_ms", 100.0)) * NS_PER_MS))
            self.channels += found
        settle_roles(self.channels, list(meters))
        apply_findings(self.channels, DeviceStore(), self._context.machine_id)

    def _event(self, code: EventCode, message: str, channel: str | None) -> None:
        self.events.append(f"{code}: {f'{channel}: ' if channel else ''}{message}")

    def next_due_ns(self) -> int | None:
        """When the next meter is due; None without meters."""
        return min((one.next_ns for one in self._open.values()), default=None)

    def read_due(self) -> None:
        """Read every meter that is due. A fault of a meter becomes an event."""
        for name, one in self._open.items():
            now_ns = self._clock.now_ns()
            if now_ns < one.next_ns:
                continue
            one.next_ns = now_ns + one.interval_ns
            try:
                for reading in one.meter.read():
                    self._see(reading)
            except Exception as error:
                self._event(EventCode.METER_ERROR, f"{name}: {type(error).__name__}: {error}", None)

    def _see(self, reading: Reading) -> None:
        rows = self._last.setdefault(reading.channel, deque())
        rows.append(((reading.t_before_ns + reading.t_after_ns) // 2, reading.value))
        while len(rows) > 2 and rows[1][0] <= rows[-1][0] - RATE_OVER_NS:
            rows.popleft()

    def shown(self) -> list[Shown]:
        """Every channel as it stands now, in the order of the meters."""
        now_ns = self._clock.now_ns()
        told = []
        for channel in self.channels:
            rows = self._last.get(channel.channel)
            if not rows:
                told.append(Shown(channel, None, None, None))
                continue
            t_ns, value = rows[-1]
            told.append(Shown(channel, value, _rate(channel, rows), (now_ns - t_ns) / NS_PER_S))
        return told

    def close(self) -> None:
        """Close all meters. Idempotent."""
        for one in self._open.values():
            one.meter.close()
        self._open.clear()


def _rate(channel: Channel, rows: deque[tuple[int, float]]) -> float | None:
    """Rise a second since about a second ago; None before that, and across a wrap or reset."""
    (from_ns, before), (to_ns, after) = rows[0], rows[-1]
    if channel.kind not in COUNTERS or to_ns - from_ns < RATE_OVER_NS // 2 or after < before:
        return None
    return (after - before) / ((to_ns - from_ns) / NS_PER_S)
