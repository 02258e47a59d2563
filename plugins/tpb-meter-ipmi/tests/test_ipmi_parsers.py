"""From bytes and text to readings: figures worked out by hand, and whatever the bytes, a reading, a named error, or nothing."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpb_core.testing.bmc_double.sensor_records import DEGREES_C, SimSensor, record
from tpb_meter_ipmi.answer import parse_answer
from tpb_meter_ipmi.dcmi import parse_power_reading
from tpb_meter_ipmi.link import CompletionError, LinkError
from tpb_meter_ipmi.repository import power_sensors
from tpb_meter_ipmi.sdr import parse_reading, parse_record

RECORDED = bytes.fromhex("dc f3 01 f3 01 f3 01 f3 01 c2 bd 00 6b e8 03 00 00 40")


def test_a_recorded_dcmi_answer() -> None:
    # 0x01f3 = 499 W; the stamp 0x6b00bdc2 s is in November 2026; 0x3e8 ms; bit 6: active
    reading = parse_power_reading(RECORDED)
    assert (reading.watts, reading.least_w, reading.most_w, reading.average_w) == (499, 499, 499, 499)
    assert (reading.stamp_s, reading.period_ms, reading.active) == (0x6B00BDC2, 1000, True)


def test_an_answer_above_a_kilowatt_is_whole() -> None:
    assert parse_power_reading(bytes.fromhex("dc 8c 19 00 00 ff ff 00 00 00 00 00 00 00 00 00 00 40")).watts == 6540


@pytest.mark.parametrize("data", [b"", RECORDED[:-1], b"\xdd" + RECORDED[1:]])
def test_what_is_no_dcmi_answer_is_named(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"power reading of|not DCMI"):
        parse_power_reading(data)


def test_the_recipe_record_has_steps_of_four_watts() -> None:
    sensor = parse_record(record(SimSensor("PSU1 Power", m=4), 1))
    assert (sensor.name, sensor.number, sensor.entity, sensor.step_w, sensor.most_w) == ("PSU1 Power", 1, 10, 4.0, 1020.0)
    assert parse_reading(sensor, bytes([85, 0xC0])) == 340.0


@pytest.mark.parametrize(
    ("m", "b", "b_exponent", "r_exponent", "raw", "watts", "step"),
    [(8, 0, 0, 0, 120, 960.0, 8.0), (5, 0, 0, -1, 200, 100.0, 0.5), (1, 12, 1, 1, 3, 1230.0, 10.0), (300, -5, 0, 0, 2, 595.0, 300.0)],
)
def test_scale_offset_and_exponents(m: int, b: int, b_exponent: int, r_exponent: int, raw: int, watts: float, step: float) -> None:
    # (m x raw + b x 10^b_exponent) x 10^r_exponent, by hand
    sensor = parse_record(record(SimSensor("X", m, b, b_exponent, r_exponent), 1))
    assert parse_reading(sensor, bytes([raw, 0x40])) == pytest.approx(watts, rel=1e-12)
    assert sensor.step_w == pytest.approx(step, rel=1e-12)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes([85, 0x60]), "unavailable"),
        (bytes([85, 0x00]), "does not scan"),
        (bytes([255, 0x40]), "end of its range"),
        (b"", "0 bytes"),
    ],
)
def test_a_sensor_that_says_that_it_has_no_reading(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_reading(parse_record(record(SimSensor("PSU1"), 1)), data)


def test_records_that_cannot_be_used_are_named() -> None:
    usable = bytearray(record(SimSensor("PSU1"), 1))
    for place, value, message in (
        (20, 0xC0, "no analogue"),
        (23, 0x07, "not linear"),
        (24, 0, "scale of 0"),
        (21, 4, "no sensor record in watts"),
    ):
        broken = bytearray(usable)
        broken[place] = value
        with pytest.raises(ValueError, match=message):
            parse_record(bytes(broken))


def test_twos_complement() -> None:
    signed = bytearray(record(SimSensor("PSU1", m=4), 1))
    signed[20] = 0x80
    sensor = parse_record(bytes(signed))
    assert sensor.watts(0x7E) == 504.0
    assert sensor.most_w == 508.0
    with pytest.raises(ValueError, match="less than nothing"):
        parse_reading(sensor, bytes([0xFF, 0x40]))


ECHO = "raw 0x2c 0x02 0xdc 0x01 0x00 0x00\n"


def test_an_answer_in_the_shell() -> None:
    text = ECHO + " dc 77 06 77 06 77 06 77 06 00 00 00 00 e8 03 00\n 00 40\n"
    assert parse_power_reading(parse_answer(text)).watts == 1655
    assert parse_answer("\x1b[?2004l\r\n" + text) == parse_answer(text)
    assert parse_answer("Get HPM.x Capabilities request failed, compcode = d4\n" + text) == parse_answer(text)


def test_a_refusal_in_the_shell() -> None:
    with pytest.raises(CompletionError, match="invalid command") as refusal:
        parse_answer(ECHO + "Unable to send RAW command (channel=0x0 netfn=0x2c lun=0x0 cmd=0x2 rsp=0xc1): Invalid command\n")
    assert refusal.value.code == 0xC1


@pytest.mark.parametrize(
    "text",
    ["", ECHO, ECHO + "Unable to send RAW command (channel=0x0 netfn=0x2c lun=0x0 cmd=0x2)\n", " zz\n", "Error: no\n 01\n", " 01" * 2000],
)
def test_what_is_no_answer_is_a_dead_session(text: str) -> None:
    with pytest.raises(LinkError):
        parse_answer(text)


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_any_bytes_as_a_power_reading(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        reading = parse_power_reading(data)
        assert data[0] == 0xDC
        assert reading.watts == data[1] + 256 * data[2]


@settings(deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=4))
def test_any_bytes_as_a_record_and_a_reading(text: bytes, data: bytes) -> None:
    with contextlib.suppress(ValueError):
        watts = parse_reading(parse_record(text), data)
        assert math.isfinite(watts)
        assert watts >= 0


@settings(deadline=None)
@given(st.binary(min_size=48, max_size=64), st.integers(0, 255))
def test_any_scale_gives_a_reading_within_the_range(body: bytes, raw: int) -> None:
    text = bytearray(record(SimSensor("A sensor"), 1))
    text[24:30] = body[24:30]
    text[20] = body[20] & 0xC0
    with contextlib.suppress(ValueError):
        sensor = parse_record(bytes(text))
        assert sensor.watts(raw) <= sensor.most_w + 1e-9 * abs(sensor.most_w)
        assert sensor.step_w > 0


@settings(deadline=None)
@given(st.text(max_size=300) | st.text("0123456789abcdef rsp=x\n", max_size=200))
def test_any_text_in_the_shell(text: str) -> None:
    with contextlib.suppress(CompletionError, LinkError):
        assert 0 < len(parse_answer(text)) <= 255


class _Memory:
    """A repository in bytes that gives whatever it is told to."""

    backend = details = "memory"

    def __init__(self, answers: list[bytes | int]) -> None:
        self.answers = answers

    def request(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        answer = self.answers.pop() if self.answers else 0xC1
        if isinstance(answer, int):
            raise CompletionError(answer)
        return answer

    def close(self) -> None: ...

    def abort(self) -> None: ...


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40) | st.sampled_from([0xC1, 0xC5, 0xCA, 0xFF]), max_size=40))
def test_any_repository_ends(answers: list[bytes | int]) -> None:
    power_sensors(_Memory(answers), lambda: False)


class _Repository:
    """Records as a controller keeps them; refuses more than `most` bytes at once and reads beyond the end of a record."""

    backend = details = "memory"

    def __init__(self, records: list[bytes], most: int) -> None:
        self.records, self.most, self.requests = records, most, 0

    def request(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        self.requests += 1
        if command == 0x22:
            return b"\x01\x00"
        place, start, length = data[2] | data[3] << 8, data[4], data[5]
        text = self.records[place]
        if length > self.most:
            raise CompletionError(0xCA)
        if start + length > len(text):
            raise CompletionError(0xC9)
        if start and data[:2] == b"\0\0":
            raise CompletionError(0xC5)
        following = place + 1 if place + 1 < len(self.records) else 0xFFFF
        return bytes([following & 0xFF, following >> 8]) + text[start : start + length]

    def close(self) -> None: ...

    def abort(self) -> None: ...


@pytest.mark.parametrize("most", [255, 32, 22, 16, 8])
def test_sensors_behind_short_records_and_small_buffers(most: int) -> None:
    short = bytes([0, 0, 0x51, 0x11, 5]) + bytes(5)  # a locator of ten bytes
    records = [
        short,
        record(SimSensor("Temp", m=1, unit=DEGREES_C), 1),
        record(SimSensor("PSU1 Power In"), 2),
        short,
        record(SimSensor("Total Power"), 3),
    ]
    found = power_sensors(_Repository(records, most), lambda: False)
    assert [(sensor.name, sensor.number) for sensor in found.sensors] == [("PSU1 Power In", 2), ("Total Power", 3)]
    assert found.left_out == []


def test_a_slow_repository_is_cut_off_and_named() -> None:
    records = [record(SimSensor(f"PSU{n} Power In"), n) for n in range(1, 6)]
    looks = iter([False, False, True])
    found = power_sensors(_Repository(records, 255), lambda: next(looks))
    assert [sensor.number for sensor in found.sensors] == [1, 2]
    assert "sdr_s" in found.left_out[0]


def test_sensors_of_other_controllers_are_left_out_by_name() -> None:
    found = power_sensors(_Repository([record(SimSensor("ME Power", owner=0x2C), 1)], 255), lambda: False)
    assert found.sensors == []
    assert "another controller (0x2c" in found.left_out[0]
