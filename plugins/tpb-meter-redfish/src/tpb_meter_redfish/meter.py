"""The Redfish meter: finds what the services offer, lets a thread a service ask, hands the readings on."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Mapping

from tpb_core.api import BadInput, Channel, EventCode, Meter, MeterContext, Reading
from tpb_core.api.credentials import read_credentials
from tpb_core.api.faults import Faults
from tpb_core.api.node_watch import NodeWatch
from tpb_core.api.zero_readings import ZeroReadings
from tpb_meter_redfish import access
from tpb_meter_redfish.channels import Described, describe
from tpb_meter_redfish.client import Address, Client, ServiceError, parse_address
from tpb_meter_redfish.config import RedfishConfig
from tpb_meter_redfish.explore import explore
from tpb_meter_redfish.found import Service
from tpb_meter_redfish.pages import Pages
from tpb_meter_redfish.poller import Poller

_LOAD_WINDOWS = ("measure", "steady")


class RedfishMeter(Meter[RedfishConfig]):
    """Power and energy of nodes, supplies, modules and outlets, about once a second."""

    config_class = RedfishConfig

    def __init__(self, config: RedfishConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._clients: list[Client] = []
        self._pollers: list[Poller] = []
        self._described: dict[str, Described] = {}
        self._faults = Faults(context.report_event, context.clock)
        self._window_began_ns: dict[str, int] = {}

    def discover(self) -> list[Channel]:
        """What the services offer. Raises Unavailable with a reason and what to type, and BadInput."""
        self.close()
        config = self.config
        if not config.url.split():
            raise access.not_configured()
        try:
            addresses = [parse_address(url) for url in config.url.split()]
        except ValueError as error:
            raise BadInput(f"meter.redfish.url: {error}", "meter.redfish.url=https://BMC") from error
        try:
            services = [self._explore(address) for address in addresses]
            hosts = [f"{address.host}:{address.port}" for address in addresses]
            described = describe(services, hosts, config, self.context)
        except BaseException:
            self.close()
            raise
        self._described = {item.channel.channel: item for item in described}
        return [item.channel for item in described]

    def _explore(self, address: Address) -> Service:
        environ: Mapping[str, str] = {**self.context.environ, **os.environ}
        config, clock = self.config, self.context.clock
        if address.scheme == "http" and config.auth != "none" and config.verify_tls:
            raise BadInput(f"{address} would carry the password in clear", "https://, or by name: meter.redfish.verify_tls=false")
        credentials = None if config.auth == "none" else read_credentials(config, environ, str(address))
        client = Client(address, config.auth, credentials, self._tls(), config.timeout_s)
        self._clients.append(client)
        deadline_ns = clock.now_ns() + round(config.discover_s * 1e9)
        pages = Pages(client, lambda: clock.now_ns() > deadline_ns)
        try:
            service = explore(pages, processors=config.processors)
        except ServiceError as error:
            raise access.unusable(str(address), error) from error
        if not service.things:
            if pages.forbidden:
                raise access.unusable(str(address), ServiceError(service.left_out[0], 403))
            raise access.no_power(str(address), service.left_out)
        service.extensions["x_tls"] = "verified" if address.scheme == "https" and config.verify_tls else "not verified"
        return service

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.config.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise BadInput(f"meter.redfish.ca_file={self.config.ca_file} cannot be used: {error}", "A file of PEM certificates.") from error
        if not self.config.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def open(self) -> None:
        """Begin to ask."""
        if not self._clients:
            self.discover()
        items = list(self._described.values())
        supplies = {item.channel.channel for item in items if item.supply and item.channel.kind == "power"}
        self._zeros = ZeroReadings(frozenset(supplies if len(supplies) > 1 else ()))
        used = [item.channel for item in items if item.channel.allocated]
        self._watch = NodeWatch(used, stuck_s=self.config.stuck_s, disagreement_rel=self.config.disagreement_rel)
        if all(item.channel.scope in ("outlet", "rack") and not item.channel.allocated for item in items):
            names = ", ".join(sorted({item.channel.extensions["x_id"] for item in items if item.channel.scope == "outlet"})[:8])
            message = f"no outlet is named as this node's, so none counts: meter.redfish.outlets=[...] of {names or 'none with a reading'}"
            self.context.report_event(EventCode.METER_UNAVAILABLE, message, None)
        for number, client in enumerate(self._clients):
            own = [item for item in items if item.service == number]
            poller = Poller(client, own, self.context.clock, self.config.interval_ms / 1e3)
            self._pollers.append(poller)
            if not self.context.clock.virtual:
                poller.start()
        self._clients = []  # the pollers' from here on

    def read(self) -> Iterable[Reading]:
        """What was taken since the last call."""
        readings: list[Reading] = []
        for poller in self._pollers:
            if self.context.clock.virtual:
                poller.round()
            for taken in poller.take():
                channel = self._described[taken.channel].channel
                if taken.value is None:
                    self._faults.happened(EventCode.METER_ERROR, taken.channel, taken.problem)
                    continue
                self._faults.recovered(taken.channel)
                if channel.kind == "power" and channel.scope in ("node", "psu") and not self._zeros.accepts(taken.channel, taken.value):
                    self._faults.happened(EventCode.ZERO_GLITCH, taken.channel, "0 W is not what a running machine draws: left out")
                    continue
                if channel.kind == "power" and channel.allocated:
                    self._watch.reading(taken.channel, taken.value, taken.t_after_ns, taken.source_ns)
                clock = "device" if taken.source_ns is not None else None
                readings.append(Reading(taken.channel, taken.t_before_ns, taken.t_after_ns, taken.value, taken.source_ns, clock))
        if readings:
            self._watch.sum_of_parts()
            self._tell()
        return readings

    def at_window_edge(self, window: str) -> None:
        """At the end of a window under load: whether a sensor slept through it."""
        if not self._pollers or window.partition("/")[0] not in _LOAD_WINDOWS:
            return
        began_ns = self._window_began_ns.pop(window, None)
        if began_ns is None:
            self._window_began_ns[window] = self.context.clock.now_ns()
        else:
            self._watch.end_of_load(began_ns, self.context.clock.now_ns())
            self._tell()

    def close(self) -> None:
        """Log out and end the threads."""
        clients, self._clients = self._clients, []
        pollers, self._pollers = self._pollers, []
        for client in clients:
            client.close()
        for poller in pollers:
            poller.stop()
        if pollers:
            self._faults.flush()

    def _tell(self) -> None:
        for code, message, name in self._watch.told:
            self.context.report_event(code, message, name)
        self._watch.told.clear()
