"""The CPU estimate: seconds of CPU time, and joules only where the user declared a power model."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tpb_core.api import Channel, EventCode, Meter, MeterConfig, MeterContext, Reading, Reason, Unavailable, option
from tpb_meter_estimate.power_model import SPAN_HIGH_W, SPAN_LOW_W, DeclaredModel, Span
from tpb_meter_estimate.proc import parse_busy_ticks, ticks_per_second
from tpb_meter_estimate.process_tree import ProcessTree

_TICK_MS = 10.0


@dataclass
class EstimateConfig(MeterConfig):
    """Options of the CPU estimate."""

    name: str = option("estimate", help="entry-point name of the meter")
    interval_ms: float = option(100.0, help="time between two readings", unit="ms")
    w_per_core: float | None = option(None, help="your power model: watts that one busy core adds; gives a point value", unit="W")
    idle_w: float | None = option(None, help="your power model: watts of the idle machine (default 0 with w_per_core)", unit="W")
    span_low_w: float = option(SPAN_LOW_W, help="least watts a busy core may draw, for the span without a power model", unit="W")
    span_high_w: float = option(SPAN_HIGH_W, help="most watts a busy core may draw, for the span without a power model", unit="W")
    rescan_s: float = option(1.0, help="time between two searches for new processes of the engine", unit="s")


class EstimateMeter(Meter[EstimateConfig]):
    """CPU seconds of the engine's process tree and of the machine; with a declared model, joules. Evidence is always `estimated`."""

    config_class = EstimateConfig

    def __init__(self, config: EstimateConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._span = Span.of_options(config.span_low_w, config.span_high_w)
        self._model = DeclaredModel.of_options(config.w_per_core, config.idle_w)
        self._tree = ProcessTree(Path("/proc"), config.rescan_s)
        self._node_stat: int | None = None
        self._node_failing = False
        self._since_ns: int | None = None
        node = context.node
        self._engine_name, self._node_name, self._energy_name = f"{node}/cpu", f"{node}/cpu_node", f"{node}/cpu_process/energy"

    def discover(self) -> list[Channel]:
        """CPU seconds of engine and machine, and energy where a model is declared. Raises Unavailable on systems without `/proc`."""
        if not sys.platform.startswith("linux") or not os.access("/proc/stat", os.R_OK):
            raise Unavailable("CPU times are read from /proc, which this system does not have", reason=Reason.UNSUPPORTED, fix="Use Linux.")
        node, machine = self.context.node, self.context.machine_id
        span = {} if self._model else self._span.extensions()
        cores = {"x_cores": os.cpu_count()}
        channels = [
            Channel(
                channel=self._engine_name, domain=f"{node}/cpu_process", parent=node, node=node, scope="process", meter="estimate",
                device=machine, sensor=f"{machine}/proc", kind="time_counter", unit="s", resolution=self._tree.resolution_s, wrap=0.0,
                update_ms=_TICK_MS, evidence="estimated", extensions={**span, **cores},
            ),
            Channel(
                channel=self._node_name, domain=f"{node}/cpu_node", parent=node, node=node, scope="node", meter="estimate",
                device=machine, sensor=f"{machine}/proc-stat", kind="time_counter", unit="s", resolution=self._tree.resolution_s, wrap=0.0,
                update_ms=_TICK_MS, evidence="estimated", extensions=cores,
            ),
        ]  # fmt: skip
        if self._model:
            channels.append(self._energy_channel(self._model))
        return channels

    def _energy_channel(self, model: DeclaredModel) -> Channel:
        node, machine = self.context.node, self.context.machine_id
        return Channel(
            channel=self._energy_name, domain=f"{node}/cpu_process", parent=node, node=node, scope="process", meter="estimate",
            device=machine, sensor=f"{machine}/proc-model", role="primary", kind="energy_counter", unit="J",
            resolution=model.w_per_core * self._tree.resolution_s, wrap=0.0,
            max_power_w=model.idle_w + model.w_per_core * (os.cpu_count() or 1) * 2, averaging_ms=0.0, update_ms=_TICK_MS, delay_ms=0.0,
            evidence="estimated",
            extensions={"x_power_model": f"{model.idle_w:g} W + {model.w_per_core:g} W x busy cores of the engine, declared by the user"},
        )  # fmt: skip

    def open(self) -> None:
        """Open the machine's statistics."""
        if self._node_stat is None:
            self._node_stat = os.open("/proc/stat", os.O_RDONLY | os.O_CLOEXEC)
        self._since_ns = self.context.clock.now_ns()

    def engine_started(self, pids: Sequence[int]) -> None:
        """The engine's processes: their CPU time since they were named (or born, where that was later) counts, with all descendants."""
        self._tree.follow(pids)

    def read(self) -> Iterable[Reading]:
        """CPU seconds now. Nothing of the engine before its processes are known."""
        clock = self.context.clock
        before = clock.now_ns()
        seconds = self._tree.cpu_seconds()
        after = clock.now_ns()
        readings: list[Reading] = []
        if seconds is not None:
            readings.append(Reading(self._engine_name, before, after, seconds))
        if self._model and self._since_ns is not None:
            middle_s = ((before + after) // 2 - self._since_ns) * 1e-9
            readings.append(Reading(self._energy_name, before, after, self._model.joules(middle_s, seconds or 0.0)))
        return [*readings, *self._node_reading()]

    def _node_reading(self) -> list[Reading]:
        if self._node_stat is None:
            return []
        clock = self.context.clock
        before = clock.now_ns()
        try:
            ticks = parse_busy_ticks(os.pread(self._node_stat, 4096, 0))
        except OSError:
            ticks = None
        after = clock.now_ns()
        if ticks is None:
            if not self._node_failing:
                self.context.report_event(EventCode.METER_ERROR, "/proc/stat does not tell the busy time", self._node_name)
            self._node_failing = True
            return []
        self._node_failing = False
        return [Reading(self._node_name, before, after, ticks / ticks_per_second())]

    def close(self) -> None:
        """Close the machine's statistics."""
        if self._node_stat is not None:
            os.close(self._node_stat)
            self._node_stat = None
