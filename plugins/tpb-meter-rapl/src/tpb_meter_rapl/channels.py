"""RAPL counters as channels of a run: place in the domain tree, role, evidence.

Domains: `n0/cpu0` (package, under `n0`), `n0/cpu0/core`, `n0/cpu0/uncore`, `n0/dram0` (not part of the package), `n0/psys`. Several dies
of a package are parts of its domains. psys covers the package and more: an alternative total, so it is a check with a domain of its own,
never summed.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any

from tpb_core.api import Channel
from tpb_meter_rapl.counter import Counter
from tpb_meter_rapl.processor import Processor
from tpb_meter_rapl.zone import Zone

UPDATE_MS = 1.0
"""The registers are refreshed about once a millisecond (Hackenberg et al. 2013, Khan et al. 2018)."""


def domain_of(zone: Zone, node: str) -> tuple[str, str]:
    """(domain, parent domain) of a zone on a node."""
    if zone.kind == "package":
        return f"{node}/cpu{zone.package}", node
    if zone.kind in ("core", "uncore"):
        return f"{node}/cpu{zone.package}/{zone.kind}", f"{node}/cpu{zone.package}"
    if zone.kind == "dram":
        return f"{node}/dram{zone.package}", node
    return (f"{node}/psys" if zone.package == 0 else f"{node}/psys{zone.package}"), node


def describe(
    counters: Sequence[Counter], *, node: str, machine_id: str, processor: Processor, extensions: dict[str, Any]
) -> dict[str, tuple[Channel, Counter]]:
    """Channel and counter by channel name, in the order of the counters."""
    dies = Tally(domain_of(counter.zone, node)[0] for counter in counters)
    described: dict[str, tuple[Channel, Counter]] = {}
    for counter in counters:
        zone = counter.zone
        domain, parent = domain_of(zone, node)
        several = dies[domain] > 1
        channel = Channel(
            channel=f"{domain}/die{zone.die}/energy" if several else f"{domain}/energy",
            meter="rapl",
            node=node,
            device=f"{machine_id}/package-{zone.package}" if zone.kind != "psys" else machine_id,
            sensor=f"{machine_id}/{zone.sensor}",
            domain=domain,
            parent=parent,
            scope=zone.kind,
            role="check" if zone.kind == "psys" else "part" if several else "primary",
            kind="energy_counter",
            unit="J",
            resolution=counter.resolution_j,
            wrap=counter.wrap_j,
            max_power_w=counter.max_power_w,
            averaging_ms=0.0,
            update_ms=UPDATE_MS,
            delay_ms=0.0,
            point="rail",
            evidence=processor.evidence(zone.kind),
            extensions={"x_source": counter.source, **extensions},
        )
        described[channel.channel] = (channel, counter)
    return described


def processor_extensions(processor: Processor) -> dict[str, Any]:
    """What has to be known of the processor to judge the counters later: SGX energy filtering skews them, microcode switches it on."""
    return {"x_cpu": processor.name or None, "x_microcode": processor.microcode or None, "x_sgx": processor.sgx}
