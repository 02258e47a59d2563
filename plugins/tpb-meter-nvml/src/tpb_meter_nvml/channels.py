"""The channels of a board: which reading is in which domain and scope, what is primary, and what is known of each sensor's timing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tpb_core.api import Channel
from tpb_core.api.gpu_sensors import AVERAGE, UNKNOWN, Gain, Timing, counts_a_module, instant_timing_of, sensor_class_of
from tpb_meter_nvml import probe
from tpb_meter_nvml.allocation import SHARE_METHOD, Allocation
from tpb_meter_nvml.board import Board
from tpb_meter_nvml.probe import Offer

AMPERE = 7
PRECEDENCE = 10
"""Extension `x_precedence`: of several meters of one device the lowest number keeps the primary role."""
TRANSIENT_FACTOR = 1.5
"""Boards overshoot their power limit for milliseconds; more than this is not plausible."""


@dataclass(frozen=True)
class Slot:
    """Where a channel's value comes from: a field with its scope, and what one unit of it is in the channel's unit."""

    channel: Channel
    field: int
    scope: int
    call: str | None = None
    """The function that is called instead of the field."""


def ledger_slots(board: Board, offer: Offer, part: Allocation, node: str) -> list[Slot]:
    """The energy and power channels of a board, primary ones first in their domain."""
    return list(_Layout(board, offer, part, node).slots())


class _Layout:
    def __init__(self, board: Board, offer: Offer, part: Allocation, node: str) -> None:
        self.board, self.offer, self.part, self.node = board, offer, part, node
        self.module = f"{node}/module{board.index}"
        self.gpu = f"{node}/gpu{board.index}"

    def slots(self) -> Iterator[Slot]:
        if self.offer.is_module:
            yield from self._module()
        gpu_counter = self.offer.has_counter and not self.offer.is_module
        if gpu_counter:
            yield self._energy(self.gpu, "gpu", self.board.uuid)
        yield from self._powers(self.gpu, "gpu", self.board.uuid, probe.GPU, gpu_counter)
        memory = (f"{self.gpu}/memory", "gpu_memory", f"{self.board.uuid}/memory")
        yield from self._powers(*memory, probe.MEMORY, False)

    def _module(self) -> Iterator[Slot]:
        """A superchip: the driver counts the energy of the whole module, CPU included, and says so by offering module power."""
        sensor = f"{self.board.uuid}/module"
        if self.offer.has_counter:
            yield self._energy(self.module, "module", sensor)
        yield from self._powers(self.module, "module", sensor, probe.MODULE, self.offer.has_counter)

    def _energy(self, domain: str, scope: str, sensor: str) -> Slot:
        call = "nvmlDeviceGetTotalEnergyConsumption" if self.offer.counter_call else None
        channel = self._channel(f"{domain}/energy", domain, scope, sensor, "energy_counter", "J", "primary", None)
        channel.wrap = 0.0
        return Slot(channel, probe.ENERGY, probe.GPU, call)

    def _powers(self, domain: str, scope: str, sensor: str, where: int, has_counter: bool) -> Iterator[Slot]:
        role = "check" if has_counter else "primary"
        for field, suffix in ((probe.INSTANT, "power"), (probe.AVERAGE, "power_average")):
            if (field, where) not in self.offer.fields:
                continue
            timing = AVERAGE if field == probe.AVERAGE else self._instant_timing(where)
            yield Slot(self._channel(f"{domain}/{suffix}", domain, scope, sensor, "power", "W", role, timing), field, where)
            role = "check"
        if where == probe.GPU and self.offer.usage_call:
            timing = AVERAGE if self._usage_is_average() else self._instant_timing(where)
            channel = self._channel(f"{domain}/power", domain, scope, sensor, "power", "W", role, timing)
            yield Slot(channel, probe.USAGE, where, "nvmlDeviceGetPowerUsage")

    def _instant_timing(self, where: int) -> Timing:
        return instant_timing_of(self.board.name) if where == probe.GPU else UNKNOWN

    def _usage_is_average(self) -> bool:
        """`nvmlDeviceGetPowerUsage` is a 1 s average on Ampere and newer, except on GA100 (A100, A30)."""
        is_ga100 = any(name in self.board.name for name in ("A100", "A30", "A800"))
        return (self.board.architecture or 0) >= AMPERE and not is_ga100

    def _channel(self, name: str, domain: str, scope: str, sensor: str, kind: str, unit: str, role: str, timing: Timing | None) -> Channel:
        board, known = self.board, sensor_class_of(self.board.name)
        channel = Channel(
            channel=name,
            domain=domain,
            parent=self._parent(domain),
            scope=scope,
            kind=kind,
            unit=unit,
            evidence="measured",
            node=self.node,
            meter="nvml",
            device=board.uuid,
            sensor=sensor,
            role=role,
            allocated=self.part.allocated,
            share=self.part.share,
            share_method=SHARE_METHOD if self.part.share is not None else None,
            resolution=0.001,
            max_power_w=board.limits_w[1] * TRANSIENT_FACTOR if board.limits_w else None,
            point="dc",
            extensions={"x_backend": "nvml", "x_model": board.name, "x_driver": board.driver, "x_precedence": PRECEDENCE},
        )
        if timing is not None:
            channel.averaging_ms, channel.averaging_u_ms = timing.averaging_ms, timing.averaging_u_ms
            channel.update_ms, channel.update_u_ms = timing.update_ms, timing.update_u_ms
            channel.extensions["x_timing_source"] = timing.source
        if known is not None and known.gain is not None and sensor == board.uuid:
            _apply_prior(channel, known.gain, board.name)
        return channel

    def _parent(self, domain: str) -> str:
        if domain == self.gpu:
            # Also where the driver offers no module: another meter of it (hwmon) would count this GPU a second time.
            return self.module if self.offer.is_module or counts_a_module(self.board.name) else self.node
        return self.node if domain == self.module else self.gpu


def _apply_prior(channel: Channel, gain: Gain, model: str) -> None:
    """Uncertainty of gain and offset from other cards of the class; cards of one model err together in part."""
    note: dict[str, Any] = {"source": "prior", "utc": None, "note": gain.source}
    channel.gain_u_rel, channel.offset_u_w, channel.calibration = gain.gain_u_rel, gain.offset_u_w, note
    channel.common_group, channel.common_r = f"nvidia/{model}", gain.common_r
