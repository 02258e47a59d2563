"""The buffer of field values: whatever a driver writes into it, a reading, an event, or nothing."""

from __future__ import annotations

import ctypes
import math
import struct
from types import SimpleNamespace

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import EventCode, Reading
from tpb_core.api.faults import Faults
from tpb_core.testing.meter_context import RecordingContext
from tpb_meter_nvml.allocation import Allocation
from tpb_meter_nvml.board import Board
from tpb_meter_nvml.channels import ledger_slots
from tpb_meter_nvml.probe import AVERAGE, ENERGY, INSTANT, Offer
from tpb_meter_nvml.reader import FIELD_VALUE, BoardReader

BOARD = Board(0, "GPU-a", "NVIDIA H100", 9, (200.0, 700.0), False, (), 0)
SLOTS = ledger_slots(BOARD, Offer(frozenset({(ENERGY, 0), (INSTANT, 0), (AVERAGE, 0)}), {}), Allocation(True), "n0")


def read(rows: bytes) -> tuple[list[Reading], list[EventCode]]:
    context = RecordingContext()
    nvml = SimpleNamespace(nvmlDeviceGetFieldValues=lambda handle, questions: rows, NVMLError=pynvml.NVMLError)
    reader = BoardReader(nvml, SLOTS, context.clock, Faults(context.report_event, context.clock))
    return reader.read(None), context.codes()


def row(kind: int, value: bytes, code: int = 0) -> bytes:
    return FIELD_VALUE.pack(83, 0, 1_700_000_000_000_000, 12, kind, code, value.ljust(8, b"\xff"))


def test_the_layout_is_that_of_the_binding() -> None:
    assert FIELD_VALUE.size == ctypes.sizeof(pynvml.c_nvmlFieldValue_t)
    values = pynvml.c_nvmlFieldValue_t(1, 2, 3, 4, 5, 6)
    values.value.ullVal = 7
    assert FIELD_VALUE.unpack(bytes(values)) == (1, 2, 3, 4, 5, 6, struct.pack("=Q", 7))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (0, struct.pack("=d", 1500.0), 1.5),
        (1, struct.pack("=I", 1500), 1.5),
        (2, struct.pack("=Q", 1500), 1.5),
        (3, struct.pack("=Q", 2**60), 2**60 / 1000),
        (4, struct.pack("=q", -5), None),
        (5, struct.pack("=i", 1500), 1.5),
        (6, struct.pack("=H", 1500), 1.5),
        (7, struct.pack("=Q", 1500), None),
        (0, struct.pack("=d", math.nan), None),
        (0, struct.pack("=d", math.inf), None),
    ],
)
def test_values_by_type(kind: int, value: bytes, expected: float | None) -> None:
    """Bytes beyond a short type's own are whatever was in memory."""
    readings, codes = read(row(kind, value) + row(1, struct.pack("=I", 5)) * 2)
    energy = [reading.value for reading in readings if reading.channel.endswith("/energy")]
    assert energy == ([] if expected is None else [expected])
    assert codes == ([EventCode.METER_ERROR] if expected is None else [])


@given(st.binary(min_size=3 * FIELD_VALUE.size, max_size=3 * FIELD_VALUE.size))
def test_any_buffer(rows: bytes) -> None:
    readings, _ = read(rows)
    for reading in readings:
        assert math.isfinite(reading.value)
        assert reading.value >= 0
