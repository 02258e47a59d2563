"""The RAPL meter: discovers counters, keeps them open, reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tpb_core.api import Channel, EventCode, Meter, MeterConfig, MeterContext, Reading, Reason, Unavailable, option
from tpb_meter_rapl.backends import Found, perf_backend, powercap_backend
from tpb_meter_rapl.channels import describe, processor_extensions
from tpb_meter_rapl.counter import Counter
from tpb_meter_rapl.processor import read_processor


@dataclass
class RaplConfig(MeterConfig):
    """Options of the RAPL meter."""

    name: str = option("rapl", help="entry-point name of the meter")
    interval_ms: float = option(100.0, help="time between two readings", unit="ms")
    backend: str = option(
        "auto", help="`sysfs`: powercap files; `perf`: perf events; `auto`: powercap, else perf events", choices=("auto", "sysfs", "perf")
    )
    root: str = option("/sys/class/powercap", help="folder with the powercap zones")
    perf_root: str = option("/sys/bus/event_source/devices/power", help="folder of the RAPL perf event source")
    cpu_root: str = option("/sys/devices/system/cpu", help="folder with the CPU topology, for perf events")
    cpuinfo: str = option("/proc/cpuinfo", help="description of the processor: decides between measured and modelled")


class RaplMeter(Meter[RaplConfig]):
    """Energy counters of packages, DRAM, cores, uncore and the platform, in joules, unwrapped by nobody here."""

    config_class = RaplConfig

    def __init__(self, config: RaplConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._described: dict[str, tuple[Channel, Counter]] = {}
        self._failing: set[str] = set()
        self._last_read_ns: dict[str, int] = {}

    def discover(self) -> list[Channel]:
        """One channel a counter. Raises Unavailable: `no_sensor`, `no_permission` (with the three ways past it), `unsupported`."""
        self.close()
        processor = read_processor(Path(self.config.cpuinfo))
        found = self._find()
        extensions = {"x_backend": found.backend, **processor_extensions(processor)}
        if found.repeats:
            extensions["x_repeats_left_out"] = found.repeats
        self._described = describe(
            found.counters, node=self.context.node, machine_id=self.context.machine_id, processor=processor, extensions=extensions
        )
        return [channel for channel, _ in self._described.values()]

    def _find(self) -> Found:
        config, processor = self.config, read_processor(Path(self.config.cpuinfo))
        if config.backend == "perf":
            return perf_backend(Path(config.perf_root), Path(config.cpu_root), processor)
        try:
            return powercap_backend(Path(config.root), processor, Path(config.perf_root), self.context.report_event)
        except Unavailable as unavailable:
            if config.backend == "sysfs":
                raise
            try:
                return perf_backend(Path(config.perf_root), Path(config.cpu_root), processor)
            except Unavailable:
                # The powercap refusal is the better advice: it names all the ways, perf events among them.
                raise unavailable from None

    def open(self) -> None:
        """Open every counter; one that has gone since it was discovered is reported and left out."""
        if not self._described:
            self.discover()
        opened = 0
        for name, (_, counter) in self._described.items():
            try:
                counter.open()
                opened += 1
            except OSError as error:
                self._fails(name, f"cannot be opened any more: {error}")
        if not opened:
            raise Unavailable("none of the RAPL counters can be opened any more", reason=Reason.UNSUPPORTED, fix="tpb doctor")

    def read(self) -> Iterable[Reading]:
        """One reading a counter, in joules. A counter that gives none is left out and reported once, until it works again."""
        clock = self.context.clock
        readings: list[Reading] = []
        for name, (channel, counter) in self._described.items():
            before = clock.now_ns()
            try:
                value = counter.read_j()
            except (OSError, ValueError) as error:
                self._fails(name, str(error))
                continue
            after = clock.now_ns()
            self._failing.discard(name)
            self._watch_wraps(channel, before)
            self._last_read_ns[name] = after
            readings.append(Reading(name, before, after, value))
        return readings

    def close(self) -> None:
        """Close all descriptors."""
        for _, counter in self._described.values():
            counter.close()

    def _fails(self, name: str, message: str) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self.context.report_event(EventCode.METER_ERROR, message, name)

    def _watch_wraps(self, channel: Channel, now_ns: int) -> None:
        """A counter that went unread for longer than it takes to run through its range twice at full power may have lost a wrap."""
        last = self._last_read_ns.get(channel.channel)
        if last is None or not channel.wrap or not channel.max_power_w:
            return
        unread_s = (now_ns - last) * 1e-9
        wraps_every_s = channel.wrap / channel.max_power_w
        if unread_s > wraps_every_s:
            message = f"unread for {unread_s:.1f} s; at {channel.max_power_w:.0f} W the counter wraps every {wraps_every_s:.1f} s"
            self.context.report_event(EventCode.DOUBLE_WRAP_POSSIBLE, message, channel.channel)
