"""What the hwmon class offers on this machine: every power, energy and voltage-times-current sensor, as the drivers describe it.

Facts: kernel documentation `hwmon/sysfs-interface` (microwatts, microjoules, millivolts, milliamperes, milliseconds) and
`hwmon/acpi_power_meter`. Attributes lie in `hwmon<N>/`, with older drivers in `hwmon<N>/device/`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tpb_meter_hwmon.attribute import OpenNumber, read_number, read_text

_ATTRIBUTE = re.compile(r"(power|energy|in)(\d{1,3})_(input|average)", re.ASCII)
_ENTRY = re.compile(r"hwmon(\d{1,5})", re.ASCII)
_ACPI_CANNOT_TELL_W = 4_294_967.295
"""ACPI's _PMM answers 0xFFFFFFFF mW when the meter cannot tell; the driver passes it on as microwatts."""
_SHUNT_SUM_CHANNEL = 4
"""INA3221: channels 4 to 6 are shunt voltages and 7 their sum, not rails."""


@dataclass
class Sensor:
    """One quantity of one device. `kind` is `power` (W) or `energy_counter` (J)."""

    driver: str
    device: str
    """Driver name, numbered where the machine has several such devices: `power_meter`, `power_meter1`."""
    attribute: str
    label: str
    kind: str
    files: tuple[OpenNumber, ...]
    per_unit: float
    """Product of the numbers in `files` times this is watts or joules."""
    averaging_ms: float | None = None
    update_ms: float | None = None
    facts: dict[str, str] = field(default_factory=dict)
    """What the device says of itself, for the channel's extensions: `oem_info`, `model_number`, `accuracy`, `measures`."""

    def open(self) -> None:
        """Open all files. Raises OSError."""
        for file in self.files:
            file.open()

    def read(self) -> float:
        """Watts or joules now. Raises OSError, and ValueError where the device says that it cannot tell."""
        value = self.per_unit
        for file in self.files:
            value *= file.read()
        if self.kind == "energy_counter" and value < 0:
            raise ValueError(f"{self.files[0].path} holds a negative energy")
        if self.kind == "power" and value >= _ACPI_CANNOT_TELL_W:
            raise ValueError(f"{self.files[0].path}: the meter cannot tell ({value:.0f} W)")
        return value

    def close(self) -> None:
        """Close all files. Idempotent."""
        for file in self.files:
            file.close()


def find_sensors(root: Path) -> list[Sensor]:
    """All sensors under `/sys/class/hwmon`, readable or not, in an order that does not depend on how the kernel numbered them."""
    folders = sorted((entry for entry in _entries(root) if _ENTRY.fullmatch(entry.name)), key=_stable_place)
    seen: Counter[str] = Counter()
    sensors: list[Sensor] = []
    for folder in folders:
        driver = read_text(folder / "name") or read_text(folder / "device" / "name") or "unnamed"
        found = _sensors_of(folder, driver, driver + (str(seen[driver]) if seen[driver] else ""))
        if found:
            seen[driver] += 1
            sensors += found
    return sensors


def _sensors_of(folder: Path, driver: str, device: str) -> list[Sensor]:
    attributes = {entry.name: entry for place in (folder / "device", folder) for entry in _entries(place)}
    sensors = []
    for name in sorted(attributes, key=_natural):
        match = _ATTRIBUTE.fullmatch(name)
        if match:
            sensor = _sensor(driver, device, attributes, match[1], int(match[2]), match[3])
            if sensor is not None:
                sensors.append(sensor)
    return sensors


def _sensor(driver: str, device: str, attributes: dict[str, Path], quantity: str, number: int, form: str) -> Sensor | None:
    def text(name: str) -> str:
        return read_text(attributes[name]) if name in attributes else ""

    def milliseconds(name: str) -> float | None:
        value = read_number(attributes[name]) if name in attributes else None
        return float(value) if value is not None and value > 0 else None

    stem = f"{quantity}{number}"
    files: tuple[OpenNumber, ...] = (OpenNumber(attributes[f"{stem}_{form}"]),)
    label = text(f"{stem}_label")
    facts = {key: value for key in ("oem_info", "model_number", "accuracy") if (value := text(f"{stem}_{key}"))}
    measures = [entry.name for entry in _entries(attributes["measures"])] if "measures" in attributes else []
    if measures:
        facts["measures"] = ", ".join(measures)
    update_ms = milliseconds("update_interval")
    if quantity == "in":
        current = attributes.get(f"curr{number}_input")
        rail = driver.startswith("ina3221") and number < _SHUNT_SUM_CHANNEL and current is not None and label not in ("", "NC")
        if not rail or current is None:
            return None
        # The chip goes round its rails and averages over the round, which is what update_interval states.
        return Sensor(driver, device, stem, label, "power", (*files, OpenNumber(current)), 1e-6, update_ms, update_ms, facts)
    if quantity == "energy":
        return Sensor(driver, device, stem, label, "energy_counter", files, 1e-6, 0.0, update_ms, facts) if form == "input" else None
    averaging_ms = milliseconds(f"{stem}_average_interval") if form == "average" else None
    return Sensor(
        driver, device, f"{stem}_{form}", label or facts.get("oem_info", ""), "power", files, 1e-6, averaging_ms, update_ms, facts
    )


def _stable_place(folder: Path) -> tuple[str, tuple[str | int, ...]]:
    """Path of the device behind an entry (bus address), then the entry's number."""
    return os.path.realpath(folder / "device") if (folder / "device").is_symlink() else "", _natural(folder.name)


def _natural(name: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
