"""Readings of one socket: energy in joules, powers in watts, and gauges; and a watch over a counter that stops counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tpb_core.api import Channel, EventCode, Reading
from tpb_core.api.clock import Clock
from tpb_core.api.faults import Faults
from tpb_meter_amdsmi.binding import ask, number, one_line
from tpb_meter_amdsmi.counter import energy_j
from tpb_meter_amdsmi.die import powers_of

FROZEN_NS = 3_000_000_000
"""A counter that keeps its value for this long while power is drawn has stopped."""
MICRO = 1e-6


class SocketReader:
    """Reads the channels of one socket through the handle of the die that reports."""

    def __init__(self, smi: Any, handle: Any, channels: Sequence[Channel], clock: Clock, faults: Faults) -> None:
        self._smi, self._handle, self._clock, self._faults = smi, handle, clock, faults
        by_suffix = {channel.channel.rpartition("/")[2]: channel.channel for channel in channels}
        self._energy = by_suffix.get("energy")
        self._powers = {suffix: by_suffix[suffix] for suffix in ("power", "power_average") if suffix in by_suffix}
        self._gauges = {suffix: name for suffix, name in by_suffix.items() if suffix not in ("energy", "power", "power_average")}
        self._last_j: float | None = None
        self._moved_ns = 0
        self._drawn = False

    def read(self) -> list[Reading]:
        """Energy and powers, those that answered."""
        readings = self._read_powers()
        return [*self._read_energy(), *readings]

    def read_gauges(self) -> list[Reading]:
        """The gauges that have a value."""
        smi, handle = self._smi, self._handle
        before_ns = self._clock.now_ns()
        activity = ask(smi, smi.amdsmi_get_gpu_activity, handle) or {}
        cap = number((ask(smi, smi.amdsmi_get_power_cap_info, handle) or {}).get("power_cap"))
        values = {
            "temperature": self._temperature(),
            "clock_gfx": self._clock_mhz(smi.AmdSmiClkType.GFX),
            "clock_memory": self._clock_mhz(smi.AmdSmiClkType.MEM),
            "power_limit": None if cap is None else cap * MICRO,
            "utilisation": number(activity.get("gfx_activity")),
            "utilisation_memory": number(activity.get("umc_activity")),
        }
        after_ns = self._clock.now_ns()
        named = ((self._gauges.get(suffix), value) for suffix, value in values.items())
        return [Reading(name, before_ns, after_ns, value) for name, value in named if name is not None and value is not None]

    def _read_powers(self) -> list[Reading]:
        if not self._powers:
            return []
        before_ns = self._clock.now_ns()
        try:
            info = self._smi.amdsmi_get_power_info(self._handle)
        except (self._smi.AmdSmiException, KeyError) as error:
            for name in self._powers.values():
                self._faults.happened(EventCode.METER_ERROR, name, one_line(error))
            return []
        after_ns = self._clock.now_ns()
        watts = powers_of(info)
        self._drawn = bool(watts)
        for suffix in self._powers.keys() - watts.keys():
            self._faults.happened(EventCode.ZERO_GLITCH, self._powers[suffix], "a reading of 0 or N/A was discarded")
        for suffix in self._powers.keys() & watts.keys():
            self._faults.recovered(self._powers[suffix])
        return [Reading(name, before_ns, after_ns, watts[suffix]) for suffix, name in self._powers.items() if suffix in watts]

    def _read_energy(self) -> list[Reading]:
        name = self._energy
        if name is None:
            return []
        before_ns = self._clock.now_ns()
        try:
            row = energy_j(self._smi.amdsmi_get_energy_count(self._handle))
        except (self._smi.AmdSmiException, KeyError) as error:
            self._faults.happened(EventCode.METER_ERROR, name, one_line(error))
            return []
        after_ns = self._clock.now_ns()
        if row is None:
            self._faults.happened(EventCode.METER_ERROR, name, "the energy counter has no value")
            return []
        self._faults.recovered(name)
        joules, _, stamp_ns = row
        if self._is_frozen(name, joules, after_ns):
            return []
        return [Reading(name, before_ns, after_ns, joules, stamp_ns, None if stamp_ns is None else "device")]

    def _is_frozen(self, name: str, joules: float, now_ns: int) -> bool:
        """A frozen counter is left out, which makes a hole: a flat line would say that nothing was drawn."""
        if joules != self._last_j or not self._drawn:
            self._last_j, self._moved_ns = joules, now_ns
            return False
        if now_ns - self._moved_ns < FROZEN_NS:
            return False
        self._faults.happened(EventCode.STUCK_SENSOR, name, f"the counter kept {joules:.3f} J for 3 s while power was drawn")
        return True

    def _temperature(self) -> float | None:
        smi = self._smi
        for kind in ("JUNCTION", "EDGE"):
            sensor = getattr(smi.AmdSmiTemperatureType, kind, None)
            value = (
                None if sensor is None else ask(smi, smi.amdsmi_get_temp_metric, self._handle, sensor, smi.AmdSmiTemperatureMetric.CURRENT)
            )
            if number(value):
                return number(value)
        return None

    def _clock_mhz(self, kind: Any) -> float | None:
        row = ask(self._smi, self._smi.amdsmi_get_clock_info, self._handle, kind) or {}
        return number(row.get("clk", row.get("cur_clk")))
