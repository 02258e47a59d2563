"""RAPL through perf events: what `/sys/bus/event_source/devices/power` describes, and counters opened from it.

The kernel widens the 32-bit registers to 64 bits in software, so these counters do not wrap.
"""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from tpb_meter_rapl.counter import PLAUSIBLE_W
from tpb_meter_rapl.perf_event import open_event
from tpb_meter_rapl.processor import Processor, package_and_die
from tpb_meter_rapl.zone import Zone

_KIND_OF_EVENT = {"energy-pkg": "package", "energy-cores": "core", "energy-ram": "dram", "energy-gpu": "uncore", "energy-psys": "psys"}
_EVENT = re.compile(r"event=(0x[0-9a-fA-F]{1,8}|\d{1,8})", re.ASCII)
_CPU_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_MOST_CPUS = 65536
_REGISTER_STEP_J = 2.0**-14
"""The scale of the events (2^-32 J) is finer than the registers, which count in steps of 2^-14 J on most processors (2^-16 J on some)."""


@dataclass(frozen=True)
class PowerPmu:
    """The `power` event source: its type number, one CPU of each package or die, and events as {zone kind: (config, joules a count)}."""

    type: int
    cpus: tuple[int, ...]
    events: dict[str, tuple[int, float]]


class PerfCounter:
    """One RAPL event on one CPU of a package."""

    wrap_j = 0.0
    resolution_j = _REGISTER_STEP_J

    def __init__(self, zone: Zone, pmu_type: int, config: int, joules_per_count: float, cpu: int) -> None:
        self.zone = zone
        self.max_power_w = PLAUSIBLE_W[zone.kind]
        self.source = f"perf event power/config={config:#04x}/ on CPU {cpu}"
        self._arguments = (pmu_type, config, cpu)
        self._joules_per_count = joules_per_count
        self._fd: int | None = None

    def open(self) -> None:
        """Open the event. Raises OSError: EACCES or EPERM without the right, ENOENT or EINVAL where it is not supported."""
        if self._fd is None:
            self._fd = open_event(*self._arguments)

    def read_j(self) -> float:
        """Energy in joules since the event was opened. Raises OSError and ValueError."""
        if self._fd is None:
            raise OSError(f"{self.source} is not open")
        return parse_perf_count(os.read(self._fd, 8)) * self._joules_per_count

    def close(self) -> None:
        """Close the event. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def parse_perf_count(raw: bytes) -> int:
    """The count that a perf descriptor gives: 8 bytes, native order. Raises ValueError for anything else (0 bytes: an error)."""
    if len(raw) != 8:
        raise ValueError(f"a perf event gave {len(raw)} bytes instead of 8")
    return int(struct.unpack("=Q", raw)[0])


def parse_event(text: str) -> int | None:
    """The config number in an event description such as `event=0x02`."""
    match = _EVENT.fullmatch(text.strip())
    return int(match[1], 0) if match and not re.fullmatch(r"0\d+", match[1]) else None


def parse_scale(text: str) -> float | None:
    """Joules a count, a positive finite decimal such as `2.3283064365386962890625e-10`."""
    if not re.fullmatch(r"\d{1,20}(\.\d{1,60})?([eE][+-]?\d{1,3})?", text.strip(), re.ASCII):
        return None
    scale = float(text)
    return scale if math.isfinite(scale) and scale > 0 else None


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """CPU numbers of a list such as `0,14` or `0-3,8`. Empty when it is not one."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        match = _CPU_RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < _MOST_CPUS:
            return ()
        cpus.extend(range(first, last + 1))
    return tuple(dict.fromkeys(cpus))


def read_pmu(perf_root: Path) -> PowerPmu | None:
    """The `power` event source of this machine; None where there is none or nothing in it can be understood."""
    pmu_type = _text(perf_root / "type").strip()
    cpus = parse_cpu_list(_text(perf_root / "cpumask"))
    events: dict[str, tuple[int, float]] = {}
    for event, kind in _KIND_OF_EVENT.items():
        config = parse_event(_text(perf_root / "events" / event))
        scale = parse_scale(_text(perf_root / "events" / f"{event}.scale"))
        if config is not None and scale is not None and _text(perf_root / "events" / f"{event}.unit").strip() == "Joules":
            events[kind] = (config, scale)
    if not re.fullmatch(r"\d{1,9}", pmu_type, re.ASCII) or not cpus or not events:
        return None
    return PowerPmu(int(pmu_type), cpus, events)


def perf_counters(pmu: PowerPmu, cpu_root: Path, processor: Processor) -> list[PerfCounter]:
    """One counter for each event and package (die). On AMD only the package event counts: older kernels advertise others that do not."""
    places = [(cpu, *package_and_die(cpu_root, cpu)) for cpu in pmu.cpus]
    packages = [package for _, package, _ in places]
    counters: dict[Zone, PerfCounter] = {}
    for kind, (config, scale) in pmu.events.items():
        if processor.is_amd and kind != "package":
            continue
        for cpu, package, die in places:
            zone = Zone(0, "psys") if kind == "psys" else Zone(package, kind, die if packages.count(package) > 1 else None)
            counters.setdefault(zone, PerfCounter(zone, pmu.type, config, scale, cpu))
    return sorted(counters.values(), key=lambda c: (c.zone.package, c.zone.kind, c.zone.die or 0))


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:256].decode("ascii", "replace")
    except OSError:
        return ""
