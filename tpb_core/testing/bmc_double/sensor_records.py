"""Sensor data records (SDR, type 01h) of the simulated controller, as bytes: name, scale and unit of an 8-bit sensor."""

from __future__ import annotations

import struct
from dataclasses import dataclass

WATTS = 6
DEGREES_C = 1
POWER_SUPPLY = 10
SYSTEM_BOARD = 7


@dataclass(frozen=True)
class SimSensor:
    """One sensor: value = (`m` x raw + `b` x 10^`b_exponent`) x 10^`r_exponent`, raw from 0 to 255."""

    name: str
    m: int = 4
    b: int = 0
    b_exponent: int = 0
    r_exponent: int = 0
    unit: int = WATTS
    entity: int = POWER_SUPPLY
    owner: int = 0x20

    @property
    def step(self) -> float:
        """Value of one raw step."""
        return float(self.m * 10.0**self.r_exponent)

    def raw(self, value: float) -> int:
        """The raw reading nearest to a value, at the ends of the range where it lies beyond them."""
        return max(0, min(255, round((value / 10.0**self.r_exponent - self.b * 10.0**self.b_exponent) / self.m)))


def record(sensor: SimSensor, number: int) -> bytes:
    """The full sensor record; record id 0: the simulator numbers them. Layout: IPMI 2.0, table 43-1."""
    name = sensor.name.encode("latin-1")
    exponents = (sensor.r_exponent & 0xF) << 4 | (sensor.b_exponent & 0xF)
    body = struct.pack("9B", sensor.owner, 0, number, sensor.entity, 1, 0x7F, 0x40, 0x0B if sensor.unit == WATTS else 0x01, 0x01)
    body += bytes(6)  # event and reading masks
    body += struct.pack("4B", 0, sensor.unit, 0, 0)  # unsigned, unit, no second unit, linear
    body += struct.pack("6B", sensor.m & 0xFF, sensor.m >> 2 & 0xC0, sensor.b & 0xFF, sensor.b >> 2 & 0xC0, 0, exponents)
    body += bytes([0, 0, 0, 0, 0xFF, 0]) + bytes(11)  # analogue flags, nominal to lowest reading, thresholds, hysteresis, reserved, OEM
    body += bytes([0xC0 | len(name)]) + name
    return struct.pack("<HBBB", 0, 0x51, 0x01, len(body)) + body
