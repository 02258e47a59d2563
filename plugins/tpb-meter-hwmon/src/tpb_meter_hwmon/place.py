"""Which part of the machine a sensor measures: known drivers and labels, the user's own mapping, else nothing.

A sensor whose place is not known must not enter the ledger (it may repeat what another sensor measures), so it becomes a gauge until the
user names its scope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tpb_core.api.described import parse_place
from tpb_meter_hwmon.sensor import Sensor

_GRACE = re.compile(r"(module|grace|cpu|sysio) power socket (\d{1,3})", re.IGNORECASE | re.ASCII)
_AMD_SOCKET = re.compile(r"Esocket(\d{1,3})", re.ASCII)
_JETSON_RAILS = {
    # Rails of Jetson modules (NVIDIA's developer guide, "Power Monitor"): (domain under the module, scope). "" is the module itself.
    "VDD_IN": ("", "module"), "POM_5V_IN": ("", "module"), "VDD_SYS_IN": ("", "module"),
    "VDD_GPU_SOC": ("gpu_soc", "soc"), "VDD_CPU_CV": ("cpu_cv", "package"), "VIN_SYS_5V0": ("sys_5v", "board"),
    # Fed from VIN_SYS_5V0, so it lies inside it.
    "VDDQ_VDD2_1V8AO": ("sys_5v/dram", "dram"),
    "VDD_CPU_GPU_CV": ("cpu_gpu_cv", "soc"), "VDD_SOC": ("soc", "soc"),
    "GPU": ("gpu", "gpu"), "VDD_SYS_GPU": ("gpu", "gpu"), "POM_5V_GPU": ("gpu", "gpu"),
    "CPU": ("cpu", "package"), "VDD_SYS_CPU": ("cpu", "package"), "POM_5V_CPU": ("cpu", "package"),
    "SOC": ("soc", "soc"), "VDD_SYS_SOC": ("soc", "soc"), "CV": ("cv", "other"),
    "VDDRQ": ("dram", "dram"), "VDD_SYS_DDR": ("dram", "dram"), "VDD_DDR": ("dram", "dram"), "SYS5V": ("sys_5v", "board"),
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Domain (full name), its parent, its scope; a role where it is more than the usual; which side of the supply."""

    domain: str
    parent: str | None
    scope: str
    role: str | None = None
    point: str | None = None
    sensor: str | None = None
    """Name of the physical sensor where another meter reads the same one under that name."""
    evidence: str = "measured"


def place_of(sensor: Sensor, node: str, mapping: Mapping[str, str]) -> Place | None:
    """Where a sensor belongs; None where neither the user nor the driver says. Raises BadInput for a mapping that cannot be understood."""
    mapped = mapping_of(sensor, mapping)
    if mapped is not None:
        return _mapped_place(sensor, node, mapped)
    if sensor.driver == "power_meter":
        return _acpi_place(sensor, node)
    if sensor.driver.startswith("ina3221") and sensor.label in _JETSON_RAILS:
        below, scope = _JETSON_RAILS[sensor.label]
        module = f"{node}/module0"
        domain = f"{module}/{below}" if below else module
        return Place(domain, domain.rpartition("/")[0], scope, point="rail")
    if sensor.driver == "amd_energy" and (socket := _AMD_SOCKET.fullmatch(sensor.label)):
        # The same register that RAPL offers as package energy.
        return Place(f"{node}/cpu{int(socket[1])}", node, "package", point="rail", sensor=f"package-{int(socket[1])}", evidence="modelled")
    return None


def mapping_of(sensor: Sensor, mapping: Mapping[str, str]) -> str | None:
    """The user's entry for a sensor: by `device/label`, `device/attribute`, `driver/label`, `driver/attribute`, or the label alone."""
    stem = sensor.attribute.split("_")[0]
    names = [f"{first}/{second}" for first in (sensor.device, sensor.driver) for second in (sensor.label, sensor.attribute, stem)]
    lowered = {key.lower(): value for key, value in mapping.items()}
    return next((lowered[name.lower()] for name in [*names, sensor.label] if name and name.lower() in lowered), None)


def slug(text: str) -> str:
    """A text as a part of a domain name: lower case letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "sensor"


def _acpi_place(sensor: Sensor, node: str) -> Place | None:
    told = sensor.facts.get("oem_info", "") or sensor.label
    if grace := _GRACE.fullmatch(told.strip()):
        socket = int(grace[2])
        module, socket_domain, sensor_name = f"{node}/module{socket}", f"{node}/module{socket}/grace", f"grace{socket}"
        return {
            "module": Place(module, node, "module", point="dc", sensor=f"{sensor_name}/module"),
            "grace": Place(socket_domain, module, "soc", point="dc", sensor=f"{sensor_name}/socket"),
            "cpu": Place(f"{socket_domain}/cpu", socket_domain, "package", point="rail", sensor=f"{sensor_name}/cpu"),
            "sysio": Place(f"{socket_domain}/sysio", socket_domain, "uncore", point="rail", sensor=f"{sensor_name}/sysio"),
        }[grace[1].lower()]
    whole_machine = "LNXSYBUS" in sensor.facts.get("measures", "") or "total domain" in told.lower()
    return Place(node, None, "node") if whole_machine else None


def _mapped_place(sensor: Sensor, node: str, entry: str) -> Place:
    told = parse_place(entry, f"meter.hwmon.scopes: {sensor.device}/{sensor.label or sensor.attribute}")
    if told.domain is None and told.scope == "node":
        return Place(node, None, told.scope, told.role)
    domain = f"{node}/{told.domain or slug(f'{sensor.device} {sensor.label or sensor.attribute}')}"
    return Place(domain, domain.rpartition("/")[0], told.scope, told.role)
