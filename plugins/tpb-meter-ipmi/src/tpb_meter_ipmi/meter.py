"""The IPMI meter: finds what a controller measures, lets a thread ask it, hands the readings on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from tpb_core.api import Channel, EventCode, Meter, MeterContext, Reading
from tpb_core.api.clock import Clock
from tpb_core.api.faults import Faults
from tpb_core.api.node_watch import NodeWatch
from tpb_core.api.zero_readings import ZeroReadings
from tpb_meter_ipmi.channels import describe, is_supply_input, without_doubles
from tpb_meter_ipmi.config import IpmiConfig
from tpb_meter_ipmi.discovery import Controller, find
from tpb_meter_ipmi.poller import News, Poller

Finder = Callable[[IpmiConfig, Mapping[str, str], Clock], Controller]
_LOAD_WINDOWS = ("measure", "steady")
_PATIENCE_S = 2.0
"""How long a request that is under way at the end may take, so that the session can be closed properly."""


class IpmiMeter(Meter[IpmiConfig]):
    """Node power, about once a second."""

    config_class = IpmiConfig

    def __init__(self, config: IpmiConfig, context: MeterContext, find_controller: Finder = find) -> None:
        super().__init__(config, context)
        self._find = find_controller
        self._controller: Controller | None = None
        self._channels: dict[str, Channel] = {}
        """By the name of the source."""
        self._poller: Poller | None = None
        self._faults = Faults(context.report_event, context.clock)
        self._window_began_ns: dict[str, int] = {}

    def discover(self) -> list[Channel]:
        """What the controller measures. Raises Unavailable with a reason and what to type, and BadInput."""
        self.close()
        environ = {**self.context.environ, **os.environ}
        controller = self._find(self.config, environ, self.context.clock)
        try:
            extensions = {**controller.extensions, **({"x_left_out": controller.left_out} if controller.left_out else {})}
            self._channels = describe(controller.sources, self.config, self.context, extensions)
        except BaseException:
            controller.link.close()
            raise
        without_doubles(self._channels)
        self._controller = controller
        return list(self._channels.values())

    def open(self) -> None:
        """Begin to ask."""
        if self._controller is None:
            self.discover()
        controller, config = self._controller, self.config
        assert controller is not None
        supplies = frozenset(source.name for source in controller.sources if is_supply_input(source))
        self._zeros = ZeroReadings(supplies if len(supplies) > 1 else frozenset())
        self._watch = NodeWatch(self._channels.values(), stuck_s=config.stuck_s, disagreement_rel=config.disagreement_rel)
        self._poller = Poller(
            controller.link, controller.reopen, controller.sources, self.context.clock,
            interval_s=config.interval_ms / 1e3, restarts=config.restarts, delay_s=config.restart_delay_s,
        )  # fmt: skip
        self._controller = None  # the session is the poller's from here on
        if not self.context.clock.virtual:
            self._poller.start()

    def read(self) -> Iterable[Reading]:
        """What was taken since the last call."""
        if self._poller is None:
            return []
        if self.context.clock.virtual:
            self._poller.round()
        readings: list[Reading] = []
        for taken in self._poller.take():
            if isinstance(taken, News):
                self.context.report_event(taken.code, taken.message, None)
                continue
            name = self._channels[taken.source].channel
            if taken.sample is None:
                self._faults.happened(EventCode.METER_ERROR, name, taken.problem)
                continue
            self._faults.recovered(name)
            if not self._zeros.accepts(taken.source, taken.sample.watts):
                self._faults.happened(EventCode.ZERO_GLITCH, name, "0 W is not what a running machine draws: left out")
                continue
            stamp_ns = taken.sample.source_ns
            self._watch.reading(name, taken.sample.watts, taken.t_after_ns, stamp_ns)
            clock = "device" if stamp_ns is not None else None
            readings.append(Reading(name, taken.t_before_ns, taken.t_after_ns, taken.sample.watts, stamp_ns, clock))
        if readings:
            self._watch.sum_of_parts()
        self._tell()
        return readings

    def at_window_edge(self, window: str) -> None:
        """At the end of a window under load: whether a sensor slept through it."""
        if self._poller is None or window.partition("/")[0] not in _LOAD_WINDOWS:
            return
        began_ns = self._window_began_ns.pop(window, None)
        if began_ns is None:
            self._window_began_ns[window] = self.context.clock.now_ns()
        else:
            self._watch.end_of_load(began_ns, self.context.clock.now_ns())
            self._tell()

    def close(self) -> None:
        """End the session and the thread."""
        controller, self._controller = self._controller, None
        if controller is not None:
            controller.link.close()
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.stop(_PATIENCE_S)
            self._faults.flush()

    def _tell(self) -> None:
        for code, message, name in self._watch.told:
            self.context.report_event(code, message, name)
        self._watch.told.clear()
