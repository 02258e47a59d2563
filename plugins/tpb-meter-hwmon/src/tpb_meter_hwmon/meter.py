"""The hwmon meter: one channel a sensor; sensors of unknown place are gauges until the user names their scope."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tpb_core.api import Channel, EventCode, Meter, MeterConfig, MeterContext, Reading, Reason, Unavailable, option
from tpb_meter_hwmon.place import Place, place_of, slug
from tpb_meter_hwmon.sensor import Sensor, find_sensors


@dataclass
class HwmonConfig(MeterConfig):
    """Options of the hwmon meter."""

    name: str = option("hwmon", help="entry-point name of the meter")
    interval_ms: float = option(100.0, help="time between two readings", unit="ms")
    root: str = option("/sys/class/hwmon", help="folder with the hwmon devices")
    scopes: dict[str, str] = option(
        {}, help="what a sensor measures, {DEVICE/LABEL: SCOPE[:ROLE][@DOMAIN]}, for example {power_meter/power1: node}"
    )


class HwmonMeter(Meter[HwmonConfig]):
    """Power in watts and energy in joules of every hwmon sensor that can be read."""

    config_class = HwmonConfig

    def __init__(self, config: HwmonConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._sensors: dict[str, Sensor] = {}
        self._failing: set[str] = set()

    def discover(self) -> list[Channel]:
        """One channel a sensor that gives a reading. Raises Unavailable: `no_sensor`, `no_permission`, `unsupported`."""
        self.close()
        self._sensors = {}
        channels: list[Channel] = []
        refusals: list[Exception] = []
        for sensor in find_sensors(Path(self.config.root)):
            try:
                sensor.open()
                sensor.read()
            except (OSError, ValueError) as error:
                refusals.append(error)
                self.context.report_event(EventCode.METER_UNAVAILABLE, f"hwmon sensor {_name(sensor)} is left out: {error}", None)
                continue
            finally:
                sensor.close()
            channel = self._channel(sensor, place_of(sensor, self.context.node, self.config.scopes))
            self._sensors[channel.channel] = sensor
            channels.append(channel)
        if not channels:
            raise self._unavailable(refusals)
        return channels

    def _unavailable(self, refusals: list[Exception]) -> Unavailable:
        root = self.config.root
        if not refusals:
            fix = "Servers with an ACPI power meter: sudo modprobe acpi_power_meter. Otherwise: tpb doctor lists the meters that work."
            return Unavailable(f"no power or energy sensor under {root}", reason=Reason.NO_SENSOR, fix=fix)
        if all(isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM) for error in refusals):
            fix = f"sudo chmod a+r {root}/hwmon*/power*_* {root}/hwmon*/energy*_input, or run as root"
            return Unavailable(f"the sensors under {root} may not be read by this user", reason=Reason.NO_PERMISSION, fix=fix)
        fix = "Look at the files with cat; the driver may need a reload."
        return Unavailable(f"no sensor under {root} gives a reading: {refusals[0]}", reason=Reason.UNSUPPORTED, fix=fix)

    def _channel(self, sensor: Sensor, place: Place | None) -> Channel:
        node, machine = self.context.node, self.context.machine_id
        suffix = f"{slug(sensor.device)}_{sensor.attribute}"
        channel = Channel(
            channel=f"{place.domain if place else f'{node}/hwmon'}/{suffix}",
            domain=place.domain if place else f"{node}/hwmon/{suffix}",
            parent=place.parent if place else node,
            node=node,
            scope=place.scope if place else "other",
            role=place.role if place else None,
            kind=sensor.kind if place else "gauge",
            unit="J" if sensor.kind == "energy_counter" else "W",
            evidence=place.evidence if place else "measured",
            point=place.point if place else None,
            meter="hwmon",
            device=f"{machine}/{sensor.device}",
            sensor=f"{machine}/{place.sensor if place and place.sensor else _name(sensor)}",
            averaging_ms=sensor.averaging_ms,
            update_ms=sensor.update_ms,
            extensions={"x_source": str(sensor.files[0].path), "x_label": sensor.label, **{f"x_{k}": v for k, v in sensor.facts.items()}},
        )
        if place is None:
            channel.extensions["x_hint"] = f"not counted until its scope is named: 'meter.hwmon.scopes={{{_name(sensor)}: SCOPE}}'"
        return channel

    def open(self) -> None:
        """Open every sensor's files; one that has gone since is reported and left out."""
        if not self._sensors:
            self.discover()
        for name, sensor in self._sensors.items():
            try:
                sensor.open()
            except OSError as error:
                self._fails(name, f"cannot be opened any more: {error}")

    def read(self) -> Iterable[Reading]:
        """One reading a sensor. A sensor that gives none is left out and reported once, until it works again."""
        clock = self.context.clock
        readings: list[Reading] = []
        for name, sensor in self._sensors.items():
            before = clock.now_ns()
            try:
                value = sensor.read()
            except (OSError, ValueError) as error:
                self._fails(name, str(error))
                continue
            after = clock.now_ns()
            self._failing.discard(name)
            readings.append(Reading(name, before, after, value))
        return readings

    def close(self) -> None:
        """Close all files."""
        for sensor in self._sensors.values():
            sensor.close()

    def _fails(self, name: str, message: str) -> None:
        if name not in self._failing:
            self._failing.add(name)
            self.context.report_event(EventCode.METER_ERROR, message, name)


def _name(sensor: Sensor) -> str:
    return f"{sensor.device}/{sensor.label or sensor.attribute}"
