"""The channels of DCGM's entities: domains and sensors are those of the NVML meter, so that beside it DCGM checks the same sensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tpb_core.api import Channel
from tpb_core.api.gpu_sensors import Timing, counts_a_module, instant_timing_of, sensor_class_of, usage_timing_of
from tpb_meter_dcgm.entity import Entity
from tpb_meter_dcgm.fields import CPU_POWER, ENERGY, INSTANT, LEDGER, MODULE_POWER, SYSIO_POWER, USAGE, Field, wanted

PRECEDENCE = {"dcgmi": 20, "bindings": 20, "exporter": 30}
"""Extension `x_precedence`: of several meters of one device the lowest number keeps the primary role (NVML has 10)."""


@dataclass(frozen=True)
class Setting:
    """What is common to all channels: where the values come from, how often, and whose node this is."""

    backend: str
    period_ms: float
    period_source: str
    node: str
    machine_id: str


def channels_of(entity: Entity, *, allocated: bool, modules: bool, setting: Setting) -> dict[int, Channel]:
    """Channels by field number. `modules`: this machine has superchips, whose GPUs and CPUs lie in a module."""
    place = _Place(entity, allocated, modules, setting)
    return dict(place.cpu() if entity.kind == "cpu" else place.gpu())


class _Place:
    def __init__(self, entity: Entity, allocated: bool, modules: bool, setting: Setting) -> None:
        self.entity, self.allocated, self.setting = entity, allocated, setting
        self.node = setting.node
        self.module = f"{self.node}/module{entity.index}"
        self.model = entity.model or ""
        self.in_module = modules
        self.primary_taken: set[str] = set()

    def gpu(self) -> Iterator[tuple[int, Channel]]:
        entity, domain = self.entity, f"{self.node}/gpu{self.entity.index}"
        sensor = entity.uuid or f"{self.setting.machine_id}/gpu{entity.index}"
        parent = self.module if self.in_module else self.node
        for field in LEDGER:
            if field.number not in entity.fields:
                continue
            if field is ENERGY and counts_a_module(self.model):
                yield field.number, self._channel(field, self.module, self.node, "module", f"{sensor}/module", None)
            else:
                timing = {INSTANT.number: instant_timing_of, USAGE.number: usage_timing_of}.get(field.number)
                yield field.number, self._channel(field, domain, parent, "gpu", sensor, timing(self.model) if timing else None)
        for field in wanted(profiling=True, grace=False):
            if field.number in entity.fields and field not in LEDGER and self.allocated:
                yield field.number, self._channel(field, domain, parent, "gpu", sensor, None)

    def cpu(self) -> Iterator[tuple[int, Channel]]:
        """A Grace socket, in its module and with the domains and sensors of the hwmon meter: both read the same files.

        Its power readings are averages of the firmware over a time that DCGM does not tell.
        """
        socket = f"{self.module}/grace"
        sensor = f"{self.setting.machine_id}/grace{self.entity.index}"
        for field in wanted(profiling=False, grace=True):
            if field.entity != "cpu" or field.number not in self.entity.fields:
                continue
            if field is MODULE_POWER:
                yield field.number, self._channel(field, self.module, self.node, "module", f"{sensor}/module", None)
            elif field is SYSIO_POWER:
                yield field.number, self._channel(field, f"{socket}/sysio", socket, "uncore", f"{sensor}/sysio", None)
            else:
                scope = "package" if field is CPU_POWER else "other"
                yield field.number, self._channel(field, f"{socket}/cpu", socket, scope, f"{sensor}/cpu", None)

    def _channel(self, field: Field, domain: str, parent: str, scope: str, sensor: str, timing: Timing | None) -> Channel:
        setting, entity = self.setting, self.entity
        ledger = field.kind in ("energy_counter", "power")
        channel = Channel(
            channel=f"{domain}/{field.suffix}",
            domain=domain,
            parent=parent,
            scope=scope,
            kind=field.kind,
            unit=field.unit,
            evidence="measured",
            node=self.node,
            meter="dcgm",
            device=entity.uuid if entity.kind == "gpu" else sensor,
            sensor=sensor,
            role=self._role(domain) if ledger else None,
            allocated=self.allocated,
            resolution=0.001 if ledger else None,
            point="dc" if ledger else None,
            extensions={
                "x_backend": setting.backend,
                "x_dcgm_field": field.number,
                "x_update_source": setting.period_source,
                "x_precedence": PRECEDENCE[setting.backend],
            },
        )
        if entity.driver is not None:
            channel.extensions["x_driver"] = entity.driver
        if field.kind == "energy_counter":
            channel.wrap = 0.0
        channel.update_ms = setting.period_ms
        if timing is not None:
            channel.averaging_ms, channel.averaging_u_ms = timing.averaging_ms, timing.averaging_u_ms
            channel.update_ms = max(setting.period_ms, timing.update_ms or 0.0)
            channel.extensions["x_timing_source"] = timing.source
        known = sensor_class_of(self.model) if ledger and sensor == entity.uuid else None
        if known is not None and known.gain is not None:
            channel.gain_u_rel, channel.offset_u_w = known.gain.gain_u_rel, known.gain.offset_u_w
            channel.calibration = {"source": "prior", "utc": None, "note": known.gain.source}
            channel.common_group, channel.common_r = f"nvidia/{self.model}", known.gain.common_r
        return channel

    def _role(self, domain: str) -> str:
        role = "check" if domain in self.primary_taken else "primary"
        self.primary_taken.add(domain)
        return role
