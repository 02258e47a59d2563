"""A meter driven as the sampler drives it, without a run around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tpb_core.api import Channel, Meter, MeterConfig, Reading
from tpb_core.testing.meter_context import RecordingContext

_INTERVAL_NS = 10_000_000
_FIVE_MINUTES_NS = 300 * 10**9
"""Push sources and logs may stamp a reading in the past."""


class MeterSession:
    """Discover, open, read, close in the right order. `channels` is set by `discover`."""

    def __init__(self, meter: type[Meter[MeterConfig]], config: MeterConfig, context: RecordingContext, pids: Sequence[int] = ()) -> None:
        self.context = context
        self.meter = meter(config, context)
        self.pids = pids
        self.channels: list[Channel] = []
        self._settled: list[Reading] = []

    def discover(self) -> list[Channel]:
        """The meter's channels."""
        self.channels = self.meter.discover()
        return self.channels

    @contextmanager
    def opened(self, settle_s: float = 0.0) -> Iterator[None]:
        """The meter open within this block; `settle_s` is the longest time to wait for every channel's first reading."""
        try:
            if not self.channels:
                self.discover()
            self.meter.open()
            if self.pids:
                self.meter.engine_started(self.pids)
            missing = {channel.channel for channel in self.channels}
            deadline = self.context.clock.now_ns() + int(settle_s * 1e9)
            while missing and self.context.clock.now_ns() < deadline:
                self._settled += (read := list(self.meter.read()))
                missing -= {reading.channel for reading in read}
                self.context.clock.sleep_until(self.context.clock.now_ns() + _INTERVAL_NS)
            yield
        finally:
            self.meter.close()

    def watch(self, seconds: float) -> Iterator[Reading]:
        """Everything read in that time, one call to the meter every 10 ms; what was read while settling comes first, once."""
        settled, self._settled = self._settled, []
        yield from settled
        clock = self.context.clock
        end = clock.now_ns() + int(seconds * 1e9)
        yield from self.meter.read()
        while clock.now_ns() < end:
            clock.sleep_until(clock.now_ns() + _INTERVAL_NS)
            yield from self.meter.read()

    def plausible_stamp(self, reading: Reading) -> bool:
        """Whether a reading's stamps can come from the context's clock."""
        now = self.context.clock.now_ns()
        return now - _FIVE_MINUTES_NS <= reading.t_before_ns <= reading.t_after_ns <= now


def energy_from_readings(channel: Channel, readings: Sequence[Reading]) -> tuple[float, float]:
    """(joules, seconds) between the first and the last reading of a power channel or an energy counter (unwrapped)."""
    assert len(readings) > 1, f"{channel.channel} was read {len(readings)} times"
    middle_s = [(reading.t_before_ns + reading.t_after_ns) / 2e9 for reading in readings]
    joules = 0.0
    for i in range(1, len(readings)):
        if channel.kind == "power":
            joules += (readings[i].value + readings[i - 1].value) / 2 * (middle_s[i] - middle_s[i - 1])
        else:
            step = readings[i].value - readings[i - 1].value
            joules += step + channel.wrap if step < 0 and channel.wrap else step
    return joules, middle_s[-1] - middle_s[0]
