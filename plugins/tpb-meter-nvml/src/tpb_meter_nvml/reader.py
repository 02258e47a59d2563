"""Readings of one board: all its fields in one call, each with its own return code and the driver's time stamp."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

from tpb_core.api import EventCode, Reading
from tpb_core.api.clock import Clock
from tpb_core.api.faults import Faults
from tpb_meter_nvml.channels import Slot

MILLI = 0.001
FIELD_VALUE = struct.Struct("=IIqqII8s")
"""`nvmlFieldValue_t`: field, scope, stamp in microseconds, latency in microseconds, value type, return code, value.

Rows are unpacked from the buffer in one go: reading them member by member through ctypes costs more than the call itself.
"""
VALUE_OF_TYPE = tuple(struct.Struct(f"={code}") for code in "dIQQqiH")
"""The value union by `valueType`: double, unsigned int, unsigned long (of the machine: 8 bytes on 64-bit Linux), unsigned long long,
signed long long, int, unsigned short."""


class BoardReader:
    """Reads the ledger channels of one board. The handle is handed in, because it changes when the driver is reset."""

    def __init__(self, nvml: Any, slots: Sequence[Slot], clock: Clock, faults: Faults) -> None:
        self._nvml, self._clock, self._faults = nvml, clock, faults
        self._fields = [slot for slot in slots if slot.call is None]
        self._calls = [slot for slot in slots if slot.call is not None]
        self._questions = [(slot.field, slot.scope) for slot in self._fields]
        self._counters: dict[str, float] = {}
        self.latency_us: int | None = None
        """How long the driver took for the last call, by its own account."""

    def read(self, handle: Any) -> list[Reading]:
        """One reading a channel that answered. Raises NVMLError where the whole call failed."""
        readings: list[Reading] = []
        if self._questions:
            before_ns = self._clock.now_ns()
            rows = self._nvml.nvmlDeviceGetFieldValues(handle, self._questions)
            after_ns = self._clock.now_ns()
            for slot, (_, _, stamp_us, latency_us, kind, code, value) in zip(
                self._fields, FIELD_VALUE.iter_unpack(bytes(rows)), strict=True
            ):
                self.latency_us = latency_us
                raw = _value(kind, value)
                if code or raw is None:
                    self._fails(slot, str(self._nvml.NVMLError(code)) if code else f"a value of unknown type {kind}")
                else:
                    self._take(readings, slot, before_ns, after_ns, raw, stamp_us * 1000 if stamp_us > 0 else None)
        for slot in self._calls:
            self._call(readings, slot, handle)
        return readings

    def _call(self, readings: list[Reading], slot: Slot, handle: Any) -> None:
        before_ns = self._clock.now_ns()
        try:
            value = getattr(self._nvml, str(slot.call))(handle)
        except (self._nvml.NVMLError_NotSupported, self._nvml.NVMLError_Unknown) as error:
            self._fails(slot, str(error))
            return
        self._take(readings, slot, before_ns, self._clock.now_ns(), value, None)

    def _take(self, readings: list[Reading], slot: Slot, before_ns: int, after_ns: int, raw: float, stamp_ns: int | None) -> None:
        """Add a reading. A zero is a glitch of the sensor: no board that answers draws nothing, and no counter goes back to 0 and on."""
        name = slot.channel.channel
        if raw == 0 and (slot.channel.kind == "power" or self._counters.get(name, 0.0) > 0):
            self._faults.happened(EventCode.ZERO_GLITCH, name, "a reading of 0 was discarded")
            return
        value = raw * MILLI
        if slot.channel.kind == "energy_counter":
            self._counters[name] = value
        self._faults.recovered(name)
        readings.append(Reading(name, before_ns, after_ns, value, stamp_ns, None if stamp_ns is None else "realtime"))

    def _fails(self, slot: Slot, word: str) -> None:
        self._faults.happened(EventCode.METER_ERROR, slot.channel.channel, f"field {slot.field}: {word}")


def _value(kind: int, value: bytes) -> float | None:
    """The number in the union; None where it is of an unknown type, negative or not finite."""
    if kind >= len(VALUE_OF_TYPE):
        return None
    number = float(VALUE_OF_TYPE[kind].unpack_from(value)[0])
    return number if 0 <= number < math.inf else None
