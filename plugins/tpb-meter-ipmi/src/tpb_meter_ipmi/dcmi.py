"""DCMI "Get Power Reading" (netfn 0x2c, command 0x02, group 0xdc): the request, and its answer from bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

NETFN, COMMAND = 0x2C, 0x02
REQUEST = bytes([0xDC, 0x01, 0x00, 0x00])
"""Mode 1: system power statistics. Its average is since the statistics were reset, on many controllers, and is not used."""
MOST_W = 65_535.0
_LAYOUT = struct.Struct("<BHHHHIIB")
_ACTIVE = 0x40
_NO_TIME = (0, 0xFFFFFFFF)


@dataclass(frozen=True)
class PowerReading:
    """Watts now, least and most of the statistics period, and the controller's own time in seconds (None: it has none)."""

    watts: int
    least_w: int
    most_w: int
    average_w: int
    stamp_s: int | None
    period_ms: int
    active: bool


def parse_power_reading(data: bytes) -> PowerReading:
    """The answer after its completion code, 18 bytes. Raises ValueError for everything else."""
    if len(data) < _LAYOUT.size:
        raise ValueError(f"a power reading of {len(data)} bytes instead of {_LAYOUT.size}")
    group, now, least, most, average, stamp_s, period_ms, state = _LAYOUT.unpack_from(data)
    if group != 0xDC:
        raise ValueError(f"an answer of group 0x{group:02x}, not DCMI")
    return PowerReading(now, least, most, average, None if stamp_s in _NO_TIME else stamp_s, period_ms, bool(state & _ACTIVE))
