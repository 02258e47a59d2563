"""The walk through a service: chassis, supplies, processors, PDUs and outlets that tell power or energy.

Modern resources (EnvironmentMetrics, PowerSubsystem) first; the legacy Power resource only where a chassis has neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tpb_meter_redfish.found import Quantity, Service, Thing
from tpb_meter_redfish.pages import Pages
from tpb_meter_redfish.value import link, look, text

ROOT = "/redfish/v1/"
_GPU = re.compile(r"(?i)(?:^|_)GPU(?:_SXM)?_?(\d+)$")
_MODULE = re.compile(r"(?i)ProcessorModule_?(\d+)$")
_PACKAGE = re.compile(r"(?i)(?:^|_)CPU_?(\d+)$")
_NODE_TYPES = ("", "RackMount", "StandAlone", "Blade", "Sled", "Node", "Enclosure")


def explore(pages: Pages, *, processors: bool) -> Service:
    """Everything at a service. Raises ServiceError where it is gone or lets this user read nothing."""
    root = pages.get(ROOT) or {}
    service = Service(left_out=pages.left_out)
    for key, facts in (("x_uuid", "UUID"), ("x_redfish", "RedfishVersion"), ("x_vendor", "Vendor"), ("x_product", "Product")):
        if text(root, facts):
            service.extensions[key] = text(root, facts)[:200]
    for path, chassis in pages.members(link(root, "Chassis")):
        _chassis(pages, path, chassis, service)
    if processors:
        for _, system in pages.members(link(root, "Systems")):
            for path, processor in pages.members(link(system, "Processors")):
                _processor(pages, path, processor, service)
    for pdu_path, pdu in _pdus(pages, root):
        _pdu(pages, pdu_path, pdu, service)
    _number(service, processors)
    return service


def _chassis(pages: Pages, path: str, chassis: dict[str, Any], service: Service) -> None:
    name = text(chassis, "Id") or path.rstrip("/").rpartition("/")[2]
    what = _kind_of_chassis(name, text(chassis, "ChassisType"))
    thing = Thing(what, name, uuid=text(chassis, "UUID"))
    metrics_path = link(chassis, "EnvironmentMetrics")
    metrics = pages.get(metrics_path)
    if metrics_path is not None and metrics is not None:
        thing.quantities += _excerpts(pages, metrics_path, metrics, ("PowerWatts", "EnergyJoules", "EnergykWh"))
    supplies, complete = _supplies(pages, link(pages.get(link(chassis, "PowerSubsystem")), "PowerSupplies"), name)
    if what == "chassis" and not thing.quantities and not supplies:
        legacy_path = link(chassis, "Power")
        legacy = pages.get(legacy_path)
        if legacy_path is not None and legacy is not None:
            thing.quantities += _present([pages.reading(legacy_path, legacy, "PowerControl", 0, "PowerConsumedWatts")])
            supplies, complete = _legacy_supplies(pages, legacy_path, legacy, name)
    if thing.quantities:
        service.things.append(thing)
    if supplies:
        service.things += supplies
        service.complete_supplies = complete


def _kind_of_chassis(name: str, kind: str) -> str:
    if _MODULE.search(name):
        return "module"
    if _GPU.search(name):
        return "gpu"
    if _PACKAGE.search(name):
        return "package"
    return "chassis" if kind in _NODE_TYPES else "other"


def _supplies(pages: Pages, path: str | None, chassis: str) -> tuple[list[Thing], bool]:
    """(supplies with a reading, whether every supply that is present has its input power)."""
    found, complete = [], True
    for supply_path, supply in pages.members(path):
        if text(supply, "Status", "State") in ("Absent", "Disabled"):
            continue
        name = text(supply, "Id") or supply_path.rpartition("/")[2]
        metrics_path = link(supply, "Metrics")
        metrics = pages.get(metrics_path)
        inputs: list[Quantity] = []
        if metrics_path is not None and metrics is not None:
            inputs = _excerpts(pages, metrics_path, metrics, ("InputPowerWatts", "EnergykWh"))
            if outputs := _excerpts(pages, metrics_path, metrics, ("OutputPowerWatts",)):
                found.append(Thing("supply_output", f"{chassis}/{name}/out", outputs))
        if any(quantity.kind == "power" for quantity in inputs):
            found.append(Thing("supply", f"{chassis}/{name}", inputs))
        else:
            complete = False
    return found, complete


def _legacy_supplies(pages: Pages, path: str, power: dict[str, Any], chassis: str) -> tuple[list[Thing], bool]:
    found, complete = [], True
    entries = look(power, ("PowerSupplies",))
    for place, supply in enumerate(entries[:64] if isinstance(entries, list) else []):
        if text(supply, "Status", "State") in ("Absent", "Disabled"):
            continue
        quantity = pages.reading(path, power, "PowerSupplies", place, "PowerInputWatts")
        if quantity is None:
            complete = False
        else:
            found.append(Thing("supply", f"{chassis}/{text(supply, 'MemberId') or place}", [quantity]))
    return found, complete


def _processor(pages: Pages, path: str, processor: dict[str, Any], service: Service) -> None:
    metrics_path = link(processor, "EnvironmentMetrics")
    kind = {"GPU": "gpu", "CPU": "package"}.get(text(processor, "ProcessorType"))
    metrics = pages.get(metrics_path) if kind else None
    if kind is None or metrics_path is None or metrics is None:
        return
    quantities = _excerpts(pages, metrics_path, metrics, ("PowerWatts", "EnergyJoules", "EnergykWh"))
    name = text(processor, "Id") or path.rpartition("/")[2]
    if quantities:
        service.things = [thing for thing in service.things if not (thing.what == kind and thing.id.endswith(name))]  # as a chassis too
        service.things.append(Thing(kind, name, quantities, text(processor, "UUID")))


def _pdus(pages: Pages, root: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    equipment = pages.get(link(root, "PowerEquipment")) or {}
    return [pdu for kind in ("RackPDUs", "FloorPDUs") for pdu in pages.members(link(equipment, kind))]


def _pdu(pages: Pages, path: str, pdu: dict[str, Any], service: Service) -> None:
    name = text(pdu, "Id") or path.rpartition("/")[2]
    metrics_path = link(pdu, "Metrics")
    metrics = pages.get(metrics_path)
    if metrics_path is not None and metrics is not None:
        quantities = _excerpts(pages, metrics_path, metrics, ("PowerWatts", "EnergykWh"))
        if quantities:
            service.things.append(Thing("pdu", name, quantities))
    for outlet_path, outlet in pages.members(link(pdu, "Outlets")):
        quantities = _excerpts(pages, outlet_path, outlet, ("PowerWatts", "EnergykWh"))
        if quantities:
            service.things.append(Thing("outlet", f"{name}/{text(outlet, 'Id') or outlet_path.rpartition('/')[2]}", quantities))


def _excerpts(pages: Pages, path: str, document: dict[str, Any], names: Sequence[str]) -> list[Quantity]:
    return _present([pages.reading(path, document, name, "Reading") for name in names])


def _present(quantities: Sequence[Quantity | None]) -> list[Quantity]:
    return [quantity for quantity in quantities if quantity is not None]


def _number(service: Service, processors: bool) -> None:
    """Number GPUs, modules and packages from 0, in the order of the numbers in their names; leave them out where not wanted."""
    for what, pattern in (("gpu", _GPU), ("module", _MODULE), ("package", _PACKAGE)):
        things = service.of(what)
        if not processors:
            service.things = [thing for thing in service.things if thing.what != what]
        for place, thing in enumerate(sorted(things, key=lambda thing: _last_number(thing.id, pattern))):
            thing.index = place


def _last_number(name: str, pattern: re.Pattern[str]) -> tuple[int, str]:
    match = pattern.search(name)
    return (int(match[1]) if match else 10**6, name)
