"""The sampler: finds the channels of all meters, reads each meter at its own rate and writes what was read to disk as it goes.

Runs in a process of its own (`sampler_process`), or on a virtual clock in the session (`sampler_client.LocalSampler`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tpb_core import drivers
from tpb_core.api.channel import Channel, Reading
from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.errors import Refused, TpbError, Unavailable
from tpb_core.api.meter import Meter, MeterConfig, MeterContext
from tpb_core.api.units import NS_PER_MS
from tpb_core.run.device_store import DeviceStore, apply_findings
from tpb_core.run.first_seconds import FirstSeconds
from tpb_core.run.lateness import Lateness
from tpb_core.run.open_meter import open_meter
from tpb_core.run.roles import settle_roles
from tpb_core.store.spool import StreamWriter

_ERRORS_WRITTEN = 20
"""A meter that fails at every reading must not fill the disk with events."""


@dataclass
class Schedule:
    """One open meter and when it is due."""

    meter: Meter[MeterConfig]
    interval_ns: int
    next_ns: int = 0
    ticks: int = 0
    missed: int = 0
    samples: int = 0
    errors: int = 0
    cost_ns: int = 0
    lateness: Lateness = field(default_factory=Lateness)


class Sampler:
    """All meters of one run. One thread; every method is called where the meters live."""

    def __init__(self, bundle: Path, clock: Clock, context: dict[str, Any]) -> None:
        """`context` holds `run_id`, `node`, `machine_id`, `environ` of `MeterContext`."""
        self._clock = clock
        self._context = MeterContext(clock=clock, report_event=self.event, **context)
        self._samples = StreamWriter(bundle, "samples", "sampler")
        self._events = StreamWriter(bundle, "events", "sampler")
        self.schedules: dict[str, Schedule] = {}
        self.latest: dict[str, tuple[int, float]] = {}
        """Time and value of each channel's last reading."""
        self._first_seconds: FirstSeconds | None = None
        self._characterised: dict[str, dict[str, Any]] | None = None
        self._allocated: dict[str, set[str]] = {}
        """Devices of the run, by meter."""

    def start(self, meters: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Discover and open the meters in order; those that do not work here are named with their reason, never left out silently.

        Returns `{"channels": [...], "unavailable": [{"meter", "reason", "what", "fix"}], "plugins": [...]}` as JSON values.
        """
        channels: list[Channel] = []
        unavailable = []
        plugins = {plugin.name: plugin for plugin in drivers.installed("tpb.meters")}
        for name, options in meters.items():
            try:
                meter, found = open_meter(name, options, self._context)
            except Unavailable as error:
                unavailable.append(_unavailable(name, str(error.reason), error))
                self.event(EventCode.METER_UNAVAILABLE, f"{name}: {error.what}", None)
                continue
            channels += found
            self._allocated[name] = {channel.device for channel in found if channel.device is not None and channel.allocated}
            self.schedules[name] = Schedule(meter, round(float(options.get("interval_ms", 100.0)) * NS_PER_MS))
        settle_roles(channels, list(meters))
        if not self._clock.virtual:
            apply_findings(channels, DeviceStore(), self._context.machine_id)
        begin_ns = self._clock.now_ns()
        self._first_seconds = FirstSeconds(channels, begin_ns)
        for schedule in self.schedules.values():
            schedule.next_ns = begin_ns
        return {
            "channels": [channel.to_json() for channel in channels],
            "unavailable": unavailable,
            "plugins": [
                {
                    "group": "tpb.meters",
                    "name": name,
                    "distribution": plugins[name].distribution if name in plugins else None,
                    "version": plugins[name].version if name in plugins else None,
                    "interface_version": schedule.meter.interface_version,
                }
                for name, schedule in self.schedules.items()
            ],
        }

    def next_due_ns(self) -> int | None:
        """When the next meter is due; None without meters."""
        return min((schedule.next_ns for schedule in self.schedules.values()), default=None)

    def read_due(self) -> None:
        """Read every meter that is due. A tick that is late by a whole interval or more is skipped and counted, never made up for."""
        for name, schedule in self.schedules.items():
            now_ns = self._clock.now_ns()
            if now_ns < schedule.next_ns:
                continue
            late_ns = now_ns - schedule.next_ns
            schedule.lateness.add(late_ns)
            skipped = late_ns // schedule.interval_ns
            schedule.missed += skipped
            schedule.next_ns += (skipped + 1) * schedule.interval_ns
            self.read(name)
        if self._characterised is None and self._first_seconds is not None and self._first_seconds.over(self._clock.now_ns()):
            self._look_at_first_seconds(self._first_seconds)
        self._samples.flush_if_due()
        self._events.flush_if_due()

    def _look_at_first_seconds(self, first: FirstSeconds) -> None:
        self._characterised = first.looked()
        for channel, seen in self._characterised.items():
            if seen["problem"] is not None:
                self.event(EventCode.METER_DISAGREEMENT if "integral_of" in seen else EventCode.METER_ERROR, seen["problem"], channel)

    def read(self, name: str) -> None:
        """Read one meter now. A failed reading is an event; the channel simply has no row."""
        schedule = self.schedules[name]
        before_ns = time.perf_counter_ns()
        rows = []
        try:
            for reading in schedule.meter.read():
                rows.append(_row(reading))  # one by one: what came before a fault counts  # noqa: PERF401
        except Exception as error:
            schedule.errors += 1
            if schedule.errors <= _ERRORS_WRITTEN:
                self.event(EventCode.METER_ERROR, f"{name}: {type(error).__name__}: {error}", None)
        schedule.ticks += 1
        schedule.cost_ns += time.perf_counter_ns() - before_ns
        schedule.samples += len(rows)
        for row in rows:
            self._samples.append(row)
            self.latest[row[0]] = (row[1], row[5])
            if self._characterised is None and self._first_seconds is not None:
                self._first_seconds.see(row[0], row[1], row[2], row[5])

    def control_power(self, limit_w: float | None, clock_mhz: int | None) -> dict[str, float]:
        """Set power limit and clock of every device of the run; returns the effective limit of each device in watts.

        Put back by `stop`, which the guardian calls too. Raises `Refused` where no meter can, `Unavailable` without permission,
        `BadInput` for a value that a device does not take; what was set before that is put back at the end all the same.
        """
        effective: dict[str, float] = {}
        for name, schedule in self.schedules.items():
            meter: Any = schedule.meter
            if not hasattr(meter, "set_power_limit"):
                continue
            for device in sorted(self._allocated[name] - set(effective)):
                if clock_mhz is not None:
                    meter.lock_clocks(device, clock_mhz, clock_mhz)
                effective[device] = meter.set_power_limit(device, limit_w) if limit_w is not None else float("nan")
        if not effective:
            raise Refused(
                "run.power_limit_w and run.lock_clock_mhz: no meter of this run controls the power of a device",
                "Add one that does, for example +meter=nvml on a machine with an NVIDIA GPU",
            )
        return effective

    def engine_started(self, pids: Sequence[int]) -> None:
        """Tell the meters which processes are the engine's."""
        for schedule in self.schedules.values():
            schedule.meter.engine_started(pids)

    def at_window_edge(self, window: str) -> None:
        """Let the meters look at what is too dear to poll."""
        for name, schedule in self.schedules.items():
            try:
                schedule.meter.at_window_edge(window)
            except Exception as error:
                self.event(EventCode.METER_ERROR, f"{name} at the edge of {window}: {type(error).__name__}: {error}", None)

    def event(self, code: EventCode, message: str, channel: str | None) -> None:
        """Write an event of the run."""
        level = "info" if code in (EventCode.METER_UNAVAILABLE, EventCode.POWER_LIMIT_SET, EventCode.POWER_LIMIT_RESTORED) else "warning"
        self._events.append((self._clock.now_ns(), "sampler", self._context.node, channel, None, level, str(code), message))

    def stop(self) -> dict[str, Any]:
        """Read once more, put devices back, close meters and streams; returns what the sampling cost, and what the first seconds
        showed (`characterised`, see `FirstSeconds`). Idempotent."""
        for name, schedule in self.schedules.items():
            self.read(name)
            self._close(name, schedule.meter)
        for name, schedule in self.schedules.items():
            if schedule.missed:
                self.event(EventCode.TICKS_MISSED, f"{name}: {schedule.missed} of {schedule.ticks + schedule.missed} readings", None)
        if self._characterised is None and self._first_seconds is not None:
            self._look_at_first_seconds(self._first_seconds)
        overhead = {**self.overhead(), "characterised": self._characterised or {}}
        self.schedules.clear()
        self._samples.close()
        self._events.close()
        return overhead

    def _close(self, name: str, meter: Meter[MeterConfig]) -> None:
        try:
            restored = meter.restore() if hasattr(meter, "restore") else []
            if restored:
                self.event(EventCode.POWER_LIMIT_RESTORED, f"{name}: {', '.join(restored)}", None)
            meter.close()
        except Exception as error:
            self.event(EventCode.METER_ERROR, f"{name} while closing: {type(error).__name__}: {error}", None)

    def overhead(self) -> dict[str, Any]:
        """For the manifest key `overhead`: CPU seconds of this process, and for each meter ticks, misses, lateness, reading cost."""
        schedules = self.schedules.values()
        return {
            "cpu_s": time.process_time(),
            "samples": sum(schedule.samples for schedule in schedules),
            "ticks": sum(schedule.ticks for schedule in schedules),
            "ticks_missed": sum(schedule.missed for schedule in schedules),
            "meters": {name: _cost(schedule) for name, schedule in self.schedules.items()},
        }


def _cost(schedule: Schedule) -> dict[str, Any]:
    return {
        "interval_ms": schedule.interval_ns / NS_PER_MS,
        "samples": schedule.samples,
        "ticks": schedule.ticks,
        "ticks_missed": schedule.missed,
        "errors": schedule.errors,
        "reading_cost_us": schedule.cost_ns / schedule.ticks / 1e3 if schedule.ticks else None,
        "late_p50_ms": schedule.lateness.quantile_ms(0.5),
        "late_p99_ms": schedule.lateness.quantile_ms(0.99),
        "late_max_ms": schedule.lateness.max_ns / 1e6,
    }


def _row(reading: Reading) -> tuple[Any, ...]:
    """Column order of samples.parquet."""
    middle_ns = (reading.t_before_ns + reading.t_after_ns) // 2
    half_ns = (reading.t_after_ns - reading.t_before_ns + 1) // 2
    return (reading.channel, middle_ns, half_ns, reading.source_ns, reading.source_clock, float(reading.value))


def _unavailable(name: str, reason: str, error: TpbError) -> dict[str, Any]:
    return {"meter": name, "reason": reason, "what": error.what, "fix": error.fix}
