"""Sources of a controller as channels of a run: what each measures, and which of them give the node's energy.

Two or more supplies' inputs are parts of the node, and then the DCMI reading is a check. Without them DCMI is primary, else the sensor
whose name says that it measures the system. A lone supply is a domain of its own under the node: whether there is another one that
nobody measures cannot be known. Everything else (outputs, processors, memory, fans) is recorded as a gauge and enters no sum, unless
`meter.ipmi.sensors` says what it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tpb_core.api import BadInput, Channel, MeterContext
from tpb_core.api.described import Place, parse_place
from tpb_meter_ipmi import dcmi
from tpb_meter_ipmi.config import IpmiConfig
from tpb_meter_ipmi.sources import Source

_SUPPLY_ENTITY = 0x0A
_OUTPUT = re.compile(r"(?i)(p[-_ ]?out|out\b|output)")
_SUPPLY = re.compile(r"(?i)\b(psu?|pwr[-_ ]?supply|power[-_ ]?supply)[-_ ]*#?\d*([-_ ]|\b)")
_SYSTEM = re.compile(r"(?i)\b(sys(tem)?|total|chassis|server|node|pwr consumption|power meter|power consumption|input)\b")
_UNFIT = re.compile(r"[^A-Za-z0-9_.\-]+")


def describe(sources: Sequence[Source], config: IpmiConfig, context: MeterContext, extensions: dict[str, Any]) -> dict[str, Channel]:
    """Channel by source name, in the order of the sources. Raises BadInput for options that name no sensor."""
    declared = {name: parse_place(text, f"meter.ipmi.sensors.{name}") for name, text in config.sensors.items()}
    unknown = sorted(set(declared) - {source.name for source in sources})
    if unknown:
        present = ", ".join(repr(source.name) for source in sources)
        raise BadInput(f"meter.ipmi.sensors: the controller has no power sensor {unknown[0]!r}", f"It has {present}.")
    supplies = [source for source in sources if source.name not in declared and is_supply_input(source)]
    return {source.name: _channel(source, declared, supplies, sources, config, context, extensions) for source in sources}


def is_supply_input(source: Source) -> bool:
    """Whether a sensor is a power supply's input, by its entity or name."""
    if source.sensor is None or _OUTPUT.search(source.name):
        return False
    return source.sensor.entity == _SUPPLY_ENTITY or _SUPPLY.search(source.name) is not None


def _is_system(source: Source) -> bool:
    return source.sensor is not None and not _OUTPUT.search(source.name) and _SYSTEM.search(source.name) is not None


def _channel(
    source: Source,
    declared: dict[str, Place],
    supplies: list[Source],
    sources: Sequence[Source],
    config: IpmiConfig,
    context: MeterContext,
    extensions: dict[str, Any],
) -> Channel:
    node, slug = context.node, _UNFIT.sub("_", source.name).strip("_").lower() or "sensor"
    device = f"bmc/{config.host}:{config.port}" if config.host else f"{context.machine_id}/bmc"
    scope, role, domain, kind, point = "other", None, node, "power", config.point or None
    if source.name in declared:
        place = declared[source.name]
        scope, role = place.scope, place.role
        domain = f"{node}/{place.domain}" if place.domain else node if scope == "node" else f"{node}/{slug}"
    elif source in supplies:
        scope, point = "psu", "ac"
        role, domain = ("part", node) if len(supplies) > 1 else ("primary", f"{node}/{slug}")
    elif source.sensor is None or (_is_system(source) and not any(other.sensor is None for other in sources)):
        scope, role = "node", "check" if len(supplies) > 1 else "primary"
    elif _is_system(source):
        scope, role = "node", "check"
    else:
        kind = "gauge"
    sensor = source.sensor
    return Channel(
        channel=f"{node}/ipmi_{slug}",
        domain=domain,
        parent=None if domain == node else domain.rpartition("/")[0],
        node=node,
        meter="ipmi",
        device=device,
        sensor=f"{device}/{source.name}",
        scope=scope,
        role=role,
        kind=kind,
        unit="W",
        evidence="measured",
        resolution=sensor.step_w if sensor else 1.0,
        max_power_w=sensor.most_w if sensor else dcmi.MOST_W,
        averaging_ms=config.averaging_ms,
        update_ms=config.update_ms,
        delay_ms=config.delay_ms,
        point=point,
        extensions={"x_source": "sdr" if sensor else "dcmi", **extensions},
    )


def without_doubles(channels: dict[str, Channel]) -> None:
    """Give channels of equal names a number, and leave one primary a domain, in place."""
    names: dict[str, int] = {}
    primary: set[str] = set()
    for channel in channels.values():
        times = names[channel.channel] = names.get(channel.channel, 0) + 1
        if times > 1:
            channel.channel = f"{channel.channel}_{times}"
        if channel.role == "primary" and channel.kind == "power":
            if channel.domain in primary:
                channel.role = "check"
            primary.add(channel.domain)
