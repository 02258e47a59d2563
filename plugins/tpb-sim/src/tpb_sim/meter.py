"""Meter `sim`: sensors on the simulated devices of the run, and on the node's power supply."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from tpb_core.api import BadInput, Channel, EventCode, Meter, MeterConfig, MeterContext, Reading, option

if TYPE_CHECKING:
    from tpb_sim.sensor import Faults, Sensor, SensorSpec


@dataclass
class SimMeterConfig(MeterConfig):
    """Options of meter `sim`."""

    name: str = option("sim", help="entry-point name of the meter")
    devices: int = option(1, help="simulated GPUs that are metered", unit="devices")
    sensor: str = option(
        "h100",
        help="class of the sensor on each device",
        choices=("ideal", "v100", "a100", "h100", "rtx3090_instant", "rtx3090_average", "average_1s"),
    )
    sensor_parameters: dict[str, float] = option(
        {}, help="numbers of the sensor class to replace, by name (averaging_ms, gain, wrap_j, noise_w)"
    )
    gains: list[float] = option([], help="true gain of each device's sensor, where they differ (default: that of the class)")
    draw_errors: bool = option(False, help="draw gain and offset of each sensor from the uncertainties that its channels declare")
    node: bool = option(False, help="add a slow meter of the whole node at the outlet (1 s average, 2.3 s late, steps of 8 W)")
    node_parameters: dict[str, float] = option({}, help="numbers of the node's sensor to replace, by name")
    resets_s: list[float] = option([], help="the energy counters begin again at 0 this long after the start", unit="s")
    gap_s: list[float] = option([], help="two times after the start between which nothing can be read", unit="s")
    stuck_s: list[float] = option([], help="two times after the start between which every reading repeats", unit="s")
    card: int = option(0, help="which cards these are: seed of drawn gains and offsets, the same in every run")
    seed: int | None = option(None, help="seed of noise and of when updates fall (default: from the run, so that repeats differ)")


class SimMeter(Meter[SimMeterConfig]):
    """Reads the world of its run. Without a simulated engine the devices idle."""

    config_class = SimMeterConfig
    virtual_time: ClassVar[bool] = True

    def __init__(self, config: SimMeterConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._sensors: list[tuple[str, str, Sensor]] = []
        """Channel, kind and sensor, in the order of reading."""
        self._unreadable: set[str] = set()

    def discover(self) -> list[Channel]:
        """An energy counter (where the class has one) and a power channel a device; a power channel of the node when asked for."""
        from tpb_sim.channels import device_channels, node_channel
        from tpb_sim.sensor import Sensor, sensor_spec
        from tpb_sim.server import device_names
        from tpb_sim.world import world_of

        config, node = self.config, self.context.node
        if config.gains and len(config.gains) != config.devices:
            raise BadInput(f"meter.sim.gains has {len(config.gains)} values for {config.devices} devices", "Give one for each device.")
        world = world_of(self.context.run_id, self.context.clock.now_ns())
        faults, channels = self._faults(), []
        self._sensors.clear()
        for index, name in enumerate(device_names(config.devices, node)):
            world.device(name)
            spec = sensor_spec(config.sensor, config.sensor_parameters)
            if config.gains:
                spec = dataclasses.replace(spec, gain=config.gains[index])
            spec, seed = self._as_built(spec, name)
            sensor = Sensor(spec, partial(world.energy_j, name), world.start_ns, seed, faults)
            for channel in device_channels(name, node, spec, f"simulated-{config.card}/{name}"):
                channels.append(channel)
                self._sensors.append((channel.channel, channel.kind, sensor))
            world.sensors[name] = spec
        if config.node:
            spec, seed = self._as_built(sensor_spec("bmc", config.node_parameters), node)
            sensor = Sensor(spec, partial(world.energy_j, node), world.start_ns, seed)
            channels.append(node_channel(node, spec, f"simulated-{config.card}/{node}"))
            self._sensors.append((channels[-1].channel, channels[-1].kind, sensor))
            world.sensors[node] = spec
        return channels

    def _as_built(self, spec: SensorSpec, name: str) -> tuple[SensorSpec, int]:
        """The sensor on one domain, with its errors drawn where asked for, and the seed of its noise."""
        from tpb_sim.channels import drawn_errors

        if self.config.draw_errors:
            spec = drawn_errors(spec, self.config.card, name)
        seed = self.context.run_id if self.config.seed is None else self.config.seed
        return spec, zlib.crc32(f"{seed} {name}".encode())

    def _faults(self) -> Faults:
        from tpb_sim.sensor import Faults

        pairs = {}
        for key, times_s in (("gap_s", self.config.gap_s), ("stuck_s", self.config.stuck_s)):
            if times_s and (len(times_s) != 2 or times_s[0] >= times_s[1]):
                raise BadInput(f"meter.sim.{key}={list(times_s)}: a start and a later end are needed", f"For example meter.sim.{key}=[3,5]")
            pairs[key] = ((times_s[0], times_s[1]),) if times_s else ()
        return Faults(resets_s=tuple(self.config.resets_s), gaps_s=pairs["gap_s"], stuck_s=pairs["stuck_s"])

    def read(self) -> Iterable[Reading]:
        """One reading a channel, at the present instant; channels in a gap are left out and reported once."""
        now_ns = self.context.clock.now_ns()
        for channel, kind, sensor in self._sensors:
            readings = sensor.energy(now_ns) if kind == "energy_counter" else sensor.power(now_ns)
            if not readings.readable[0]:
                if channel not in self._unreadable:
                    self._unreadable.add(channel)
                    self.context.report_event(EventCode.METER_ERROR, "the simulated sensor does not answer", channel)
            else:
                self._unreadable.discard(channel)
                yield Reading(channel, now_ns, now_ns, float(readings.value[0]))

    def close(self) -> None:
        """Forget the sensors; the world stays until its truth is written."""
        self._sensors.clear()
