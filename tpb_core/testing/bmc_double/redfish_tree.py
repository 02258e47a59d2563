"""The resources of a simulated Redfish service: dictionaries by path, with numbers that are asked for when they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Live = float | int | None | str | Callable[[], Any]
"""A number, or a function that gives the present one."""
Tree = dict[str, dict[str, Any]]
ROOT = "/redfish/v1"


def root(tree: Tree) -> None:
    """The service root with its empty collections."""
    tree[ROOT] = {
        "@odata.id": ROOT, "Id": "RootService", "RedfishVersion": "1.18.0", "UUID": "92384634-2938-2342-8820-489239905423",
        "Vendor": "tpb", "Product": "double", "Chassis": _to(f"{ROOT}/Chassis"), "Systems": _to(f"{ROOT}/Systems"),
        "SessionService": _to(f"{ROOT}/SessionService"),
    }  # fmt: skip
    for name in ("Chassis", "Systems"):
        collection(tree, f"{ROOT}/{name}", [])


def collection(tree: Tree, path: str, members: Iterable[str]) -> None:
    """A collection, or further members of one."""
    entries = tree.setdefault(path, {"@odata.id": path, "Members": []})["Members"]
    entries += [_to(member) for member in members]
    tree[path]["Members@odata.count"] = len(entries)


def chassis(tree: Tree, name: str, *, kind: str = "RackMount", metrics: dict[str, Live] | None = None, **more: Any) -> str:
    """A chassis with its EnvironmentMetrics: `{"PowerWatts": ..., "EnergyJoules": ..., "EnergykWh": ...}`. Returns its path."""
    path = f"{ROOT}/Chassis/{name}"
    tree[path] = {"@odata.id": path, "Id": name, "ChassisType": kind, **more}
    collection(tree, f"{ROOT}/Chassis", [path])
    if metrics is not None:
        tree[path]["EnvironmentMetrics"] = _to(f"{path}/EnvironmentMetrics")
        tree[f"{path}/EnvironmentMetrics"] = {"Id": "Metrics", **excerpts(metrics)}
    return path


def excerpts(metrics: dict[str, Live]) -> dict[str, Any]:
    """Sensor excerpts by name."""
    return {name: {"Reading": value} for name, value in metrics.items()}


def sensor(tree: Tree, chassis_path: str, name: str, reading: Live, time: Live) -> str:
    """A sensor with the time of its reading; returns the path for a `DataSourceUri`."""
    path = f"{chassis_path}/Sensors/{name}"
    tree[path] = {"@odata.id": path, "Id": name, "Reading": reading, "ReadingTime": time}
    return path


def supply(tree: Tree, chassis_path: str, name: str, metrics: dict[str, Live] | None, state: str = "Enabled") -> None:
    """A power supply in the PowerSubsystem of a chassis, with metrics such as `InputPowerWatts`; None: it has none."""
    subsystem = f"{chassis_path}/PowerSubsystem"
    tree[chassis_path]["PowerSubsystem"] = _to(subsystem)
    tree[subsystem] = {"Id": "PowerSubsystem", "PowerSupplies": _to(f"{subsystem}/PowerSupplies")}
    path = f"{subsystem}/PowerSupplies/{name}"
    collection(tree, f"{subsystem}/PowerSupplies", [path])
    tree[path] = {"@odata.id": path, "Id": name, "Status": {"State": state}}
    if metrics is not None:
        tree[path]["Metrics"] = _to(f"{path}/Metrics")
        tree[f"{path}/Metrics"] = {"Id": "Metrics", **excerpts(metrics)}


def legacy_power(tree: Tree, chassis_path: str, consumed: Sequence[Live], supplies: Sequence[Live] = ()) -> None:
    """The Power resource of older services: control loops, and supplies with their input."""
    path = f"{chassis_path}/Power"
    tree[chassis_path]["Power"] = _to(path)
    tree[path] = {
        "Id": "Power",
        "PowerControl": [{"MemberId": str(place), "PowerConsumedWatts": watts} for place, watts in enumerate(consumed)],
        "PowerSupplies": [{"MemberId": f"PSU{place + 1}", "PowerInputWatts": watts} for place, watts in enumerate(supplies)],
    }


def processor(tree: Tree, system: str, name: str, kind: str, metrics: dict[str, Live], uuid: str = "") -> None:
    """A processor of a system, with its EnvironmentMetrics."""
    base = f"{ROOT}/Systems/{system}"
    if base not in tree:
        tree[base] = {"@odata.id": base, "Id": system, "Processors": _to(f"{base}/Processors")}
        collection(tree, f"{ROOT}/Systems", [base])
    path = f"{base}/Processors/{name}"
    collection(tree, f"{base}/Processors", [path])
    tree[path] = {
        "@odata.id": path,
        "Id": name,
        "ProcessorType": kind,
        "UUID": uuid,
        "EnvironmentMetrics": _to(f"{path}/EnvironmentMetrics"),
    }
    tree[f"{path}/EnvironmentMetrics"] = {"Id": "Metrics", **excerpts(metrics)}


def pdu(tree: Tree, name: str, metrics: dict[str, Live], outlets: dict[str, dict[str, Live]]) -> None:
    """A rack PDU with its metrics and outlets."""
    equipment = f"{ROOT}/PowerEquipment"
    tree[ROOT]["PowerEquipment"] = _to(equipment)
    tree[equipment] = {"@odata.id": equipment, "RackPDUs": _to(f"{equipment}/RackPDUs")}
    path = f"{equipment}/RackPDUs/{name}"
    collection(tree, f"{equipment}/RackPDUs", [path])
    tree[path] = {"@odata.id": path, "Id": name, "Metrics": _to(f"{path}/Metrics"), "Outlets": _to(f"{path}/Outlets")}
    tree[f"{path}/Metrics"] = {"Id": "Metrics", **excerpts(metrics)}
    collection(tree, f"{path}/Outlets", [f"{path}/Outlets/{outlet}" for outlet in outlets])
    for outlet, readings in outlets.items():
        tree[f"{path}/Outlets/{outlet}"] = {"@odata.id": f"{path}/Outlets/{outlet}", "Id": outlet, **excerpts(readings)}


def _to(path: str) -> dict[str, str]:
    return {"@odata.id": path}
