"""What was found at the services as channels of a run: places in the tree, and who gives the node's energy.

The node is, in this order: the sum of the outlets that were named as its own; the sum of its supplies' inputs, where there are two or
more and each one tells; the chassis. What is left of these becomes a check. A counter in joules goes before power, power before a
counter in kWh, whose steps are too coarse for a window. Outlets and PDUs that are not the node's are recorded as not allocated, with
no parent: they lie outside the node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tpb_core.api import BadInput, Channel, MeterContext
from tpb_core.api.visible import GpuIdentity, cuda_visible
from tpb_meter_redfish.config import RedfishConfig
from tpb_meter_redfish.found import Quantity, Service, Thing

_UNFIT = re.compile(r"[^A-Za-z0-9_.\-]+")


@dataclass(frozen=True)
class Place:
    """Where a thing belongs. `role` is that of its best quantity; None: a gauge."""

    domain: str
    parent: str | None
    scope: str
    role: str | None
    allocated: bool = True
    point: str | None = None


@dataclass(frozen=True)
class Described:
    """A channel with the number that it reads."""

    channel: Channel
    quantity: Quantity
    service: int
    """Which of the services, from 0."""
    supply: bool = False


def describe(services: Sequence[Service], hosts: Sequence[str], config: RedfishConfig, context: MeterContext) -> list[Described]:
    """All channels. Raises BadInput for chassis and outlets that are not there, and where it is open which chassis is the node."""
    _check_names(services, config)
    outlets = any(thing.id in config.outlets for service in services for thing in service.of("outlet"))
    described: list[Described] = []
    for number, service in enumerate(services):
        own = _own_chassis(service, config)
        supplies = [thing for thing in service.of("supply") if thing.id.rpartition("/")[0] in own]
        layout = _Layout(service, config, context, own, supplies, outlets)
        for thing in service.things:
            place = layout.place(thing)
            described += _channels(thing, place, number, hosts[number], service, config, context)
    _one_primary_a_domain(described)
    return described


def _check_names(services: Sequence[Service], config: RedfishConfig) -> None:
    for option, wanted, what in (("outlets", config.outlets, ("outlet",)), ("chassis", config.chassis, ("chassis", "other"))):
        present = [thing.id for service in services for kind in what for thing in service.of(kind)]
        present += [thing.id.rpartition("/")[0] for service in services for thing in service.of("supply") if option == "chassis"]
        for name in wanted:
            if name not in present:
                has = f"There are {', '.join(sorted(set(present)))}." if present else "There is none with a reading."
                raise BadInput(f"meter.redfish.{option}: there is no {name!r}", has)


def _own_chassis(service: Service, config: RedfishConfig) -> set[str]:
    if config.chassis:
        return set(config.chassis)
    if service.of("pdu") or service.of("outlet"):
        return set()  # a PDU's own chassis is no server
    candidates = {thing.id for thing in service.of("chassis")} | {thing.id.rpartition("/")[0] for thing in service.of("supply")}
    with_supplies = {thing.id.rpartition("/")[0] for thing in service.of("supply")}
    if len(candidates) > 1 and len(with_supplies) != 1:
        raise BadInput(
            f"several chassis tell their power: {', '.join(sorted(candidates))}",
            f"Which is this node? meter.redfish.chassis=[{min(candidates)}]",
        )
    return with_supplies if len(candidates) > 1 else candidates


class _Layout:
    """Places of the things of one service."""

    def __init__(
        self, service: Service, config: RedfishConfig, context: MeterContext, own: set[str], supplies: list[Thing], outlets: bool
    ) -> None:
        self._service, self._config, self._node, self._own = service, config, context.node, own
        self._supplies, self._outlets = supplies, outlets
        self._sum_supplies = len(supplies) > 1 and service.complete_supplies
        self._unused = _unused_gpus(service.of("gpu"), context.environ)

    def place(self, thing: Thing) -> Place:
        """Where a thing belongs."""
        node, slug = self._node, slug_of(thing.id)
        if thing.what == "outlet":
            if thing.id in self._config.outlets:
                return Place(node, None, "outlet", "part", point="ac")
            return Place(f"{node}/outlet/{slug}", None, "outlet", "primary", False, "ac")
        if thing.what == "pdu":
            return Place(f"{node}/pdu/{slug}", None, "rack", "primary", False, "ac")
        if thing.what == "supply" and thing in self._supplies:
            if self._sum_supplies:
                return Place(node, None, "psu", "check" if self._outlets else "part", point="ac")
            return Place(f"{node}/{slug}", node, "psu", "primary", point="ac")
        if thing.what in ("chassis", "other") and thing.id in self._own:
            return Place(node, None, "node", "check" if self._outlets or self._sum_supplies else "primary")
        if thing.what in ("gpu", "module", "package"):
            return self._processor(thing)
        return Place(node, None, "other", None, point="dc" if thing.what == "supply_output" else None)

    def _processor(self, thing: Thing) -> Place:
        modules = self._service.of("module")
        if thing.what == "module":
            inside = [gpu for gpu in self._service.of("gpu") if self._module_of(gpu) == thing.index]
            allocated = not inside or any(gpu.id not in self._unused for gpu in inside)
            return Place(f"{self._node}/module{thing.index}", self._node, "module", "primary", allocated, "rail")
        name = {"gpu": "gpu", "package": "cpu"}[thing.what]
        allocated = thing.id not in self._unused
        if not modules:
            return Place(f"{self._node}/{name}{thing.index}", self._node, thing.what, "primary", allocated, "rail")
        module = self._module_of(thing)
        if module is None:  # which module holds it cannot be known: counted there, and only recorded here
            return Place(self._node, None, thing.what, None, allocated, "rail")
        return Place(f"{self._node}/{name}{thing.index}", f"{self._node}/module{module}", thing.what, "primary", allocated, "rail")

    def _module_of(self, thing: Thing) -> int | None:
        """Modules hold equal numbers of GPUs (and of packages) in order."""
        alike, modules = len(self._service.of(thing.what)), len(self._service.of("module"))
        return thing.index // (alike // modules) if modules and alike >= modules and alike % modules == 0 else None


def slug_of(name: str) -> str:
    """A name as it can stand in a channel."""
    return _UNFIT.sub("_", name.replace("/", "_")).strip("_").lower() or "unnamed"


def _unused_gpus(gpus: Sequence[Thing], environ: Mapping[str, str]) -> set[str]:
    """Ids of the GPUs that the run does not use, by `CUDA_VISIBLE_DEVICES`; none where that cannot be told."""
    in_order = sorted(gpus, key=lambda thing: thing.index)
    identities = [GpuIdentity(_gpu_uuid(thing) or f"GPU-{thing.id}", "") for thing in in_order]
    visible = cuda_visible(environ, identities)
    if visible.problem:
        return set()
    return {thing.id for thing, identity in zip(in_order, identities, strict=True) if identity.uuid not in visible.boards}


def _gpu_uuid(thing: Thing) -> str:
    """The UUID as the driver writes it."""
    return thing.uuid if not thing.uuid or thing.uuid.upper().startswith("GPU-") else f"GPU-{thing.uuid.lower()}"


def _channels(
    thing: Thing, place: Place, number: int, host: str, service: Service, config: RedfishConfig, context: MeterContext
) -> list[Described]:
    best = min(thing.quantities, key=lambda quantity: (quantity.coarse, quantity.kind != "energy_counter"))
    device = f"redfish/{host}"
    sensor = _gpu_uuid(thing) if thing.what == "gpu" and thing.uuid else f"{device}/{thing.id}"
    left_out = {"x_left_out": service.left_out[:20]} if service.left_out else {}
    found = []
    for quantity in thing.quantities:
        power = quantity.kind == "power"
        gauge = place.role is None
        suffix = "power" if power else "energy_kwh" if quantity.coarse else "energy"
        channel = Channel(
            channel=f"{context.node}/redfish_{slug_of(thing.id)}_{suffix}",
            domain=place.domain,
            parent=place.parent,
            node=context.node,
            meter="redfish",
            device=device,
            sensor=sensor,
            scope=place.scope,
            role=place.role if quantity is best or gauge else "check",
            kind="gauge" if gauge else quantity.kind,
            unit="W" if power else "J",
            evidence="measured",
            allocated=place.allocated,
            averaging_ms=config.averaging_ms if power else 0.0,
            update_ms=config.update_ms,
            delay_ms=config.delay_ms,
            point=place.point,
            extensions={"x_id": thing.id, "x_path": quantity.path, **service.extensions, **left_out},
        )
        found.append(Described(channel, quantity, number, thing.what == "supply"))
    return found


def _one_primary_a_domain(described: Sequence[Described]) -> None:
    """Equal names get a number; beside parts, and after the first primary, the others of a domain are checks."""
    names: dict[str, int] = {}
    for item in described:
        channel = item.channel
        times = names[channel.channel] = names.get(channel.channel, 0) + 1
        if times > 1:
            channel.channel = f"{channel.channel}_{times}"
    with_parts = {item.channel.domain for item in described if item.channel.role == "part"}
    primary: set[str] = set()
    for item in described:
        if item.channel.role == "primary":
            if item.channel.domain in primary | with_parts:
                item.channel.role = "check"
            primary.add(item.channel.domain)
