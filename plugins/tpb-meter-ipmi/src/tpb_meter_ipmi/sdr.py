"""Sensor data records: which sensors give watts, and how a raw byte becomes watts. Pure bytes (IPMI 2.0, chapters 35, 36 and 43)."""

from __future__ import annotations

from dataclasses import dataclass

FULL_RECORD = 0x01
WATTS = 0x06
HEAD = 32
"""Bytes of a record that hold everything but limits and name."""
_NAME_AT = 47
_BCD_PLUS = "0123456789 -.:,_"


@dataclass(frozen=True)
class PowerSensor:
    """An 8-bit sensor in watts: watts = (m x raw + b x 10^b_exponent) x 10^r_exponent, raw as `signed` says."""

    name: str
    number: int
    owner: int
    lun: int
    entity: int
    instance: int
    m: int
    b: int
    b_exponent: int
    r_exponent: int
    signed: str
    """`no`, `ones` or `twos` complement."""

    @property
    def step_w(self) -> float:
        """Watts of one raw step, the resolution of the sensor: |m| x 10^r_exponent."""
        return abs(self.m) * 10.0**self.r_exponent

    @property
    def most_w(self) -> float:
        """The highest value that the sensor can show."""
        return max(self.watts(raw) for raw in ((0, 255) if self.signed == "no" else (0x80, 0x7F)))

    def watts(self, raw: int) -> float:
        """Watts of a raw byte."""
        value = raw
        if self.signed != "no" and raw & 0x80:
            value = raw - (0x100 if self.signed == "twos" else 0xFF)
        return (self.m * value + self.b * 10.0**self.b_exponent) * 10.0**self.r_exponent

    def saturated(self, raw: int) -> bool:
        """Whether a raw byte is at the upper end of the range: the power may be anything above."""
        ends = (0, 0xFF) if self.signed == "no" else (0x80, 0x7F)
        return raw == max(ends, key=self.watts)


def is_watts(head: bytes) -> bool:
    """Whether the first `HEAD` bytes of a record are those of a full sensor record in plain watts (no rate, no second unit)."""
    return len(head) >= HEAD and head[3] == FULL_RECORD and head[21] == WATTS and not head[20] & 0x3F and not head[22]


def parse_record(record: bytes) -> PowerSensor:
    """A full sensor record in watts, from its first byte on. Raises ValueError naming what cannot be used."""
    if not is_watts(record):
        raise ValueError("no sensor record in watts")
    form, linear = record[20] >> 6, record[23] & 0x7F
    name = _name(record)
    if form == 3:
        raise ValueError(f"{name}: has no analogue reading")
    if linear:
        raise ValueError(f"{name}: is not linear (formula {linear}), which is not supported")
    m = _signed(record[24] | (record[25] & 0xC0) << 2, 10)
    if m == 0:
        raise ValueError(f"{name}: has a scale of 0")
    return PowerSensor(
        name, record[7], record[5], record[6] & 0x03, record[8], record[9] & 0x7F, m, _signed(record[26] | (record[27] & 0xC0) << 2, 10),
        _signed(record[29] & 0x0F, 4), _signed(record[29] >> 4, 4), ("no", "ones", "twos")[form],
    )  # fmt: skip


def parse_reading(sensor: PowerSensor, data: bytes) -> float:
    """Watts of a `Get Sensor Reading` answer after its completion code. Raises ValueError where it is not a reading."""
    if len(data) < 2:
        raise ValueError(f"an answer of {len(data)} bytes instead of a reading")
    raw, state = data[0], data[1]
    if state & 0x20:
        raise ValueError("the controller says that the reading is unavailable")
    if not state & 0x40:
        raise ValueError("the controller does not scan this sensor")
    watts = sensor.watts(raw)
    if watts > 0 and sensor.saturated(raw):
        raise ValueError(f"at the end of its range ({watts:g} W): the power may be anything above")
    if watts < 0:
        raise ValueError(f"shows {watts:g} W, less than nothing")
    return watts


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value & 1 << bits - 1 else value


def _name(record: bytes) -> str:
    """The sensor's id string: 8-bit ASCII, 6-bit packed ASCII or BCD plus, as its first byte says; a number where there is none."""
    fallback = f"sensor {record[7]}"
    if len(record) <= _NAME_AT:
        return fallback
    length, text = record[_NAME_AT] & 0x1F, record[_NAME_AT + 1 :]
    form = record[_NAME_AT] >> 6
    if form == 1:
        name = "".join(_BCD_PLUS[byte >> 4] + _BCD_PLUS[byte & 0x0F] for byte in text[:length])
    elif form == 2:
        bits = int.from_bytes(text[:length], "little")
        name = "".join(chr(0x20 + (bits >> 6 * place & 0x3F)) for place in range(len(text[:length]) * 8 // 6))
    else:
        name = text[:length].decode("latin-1")
    cleaned = "".join(character if character.isprintable() else " " for character in name).strip()
    return cleaned or fallback
