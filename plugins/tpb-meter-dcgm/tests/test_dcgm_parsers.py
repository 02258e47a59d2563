"""Texts of DCGM: transcripts as they come, and any bytes at all. A reading, or nothing; never an exception, never a wrong number."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_meter_dcgm.discovery import parse_discovery
from tpb_meter_dcgm.dmon import parse_row
from tpb_meter_dcgm.fields import ENERGY, INSTANT, LEDGER, USAGE
from tpb_meter_dcgm.local_driver import local_driver
from tpb_meter_dcgm.page import parse_page
from tpb_meter_dcgm.prometheus import parse_samples
from tpb_meter_dcgm.values import number_of

FIELDS = (USAGE, ENERGY, INSTANT)

DMON = """\
#Entity   POWER             TOTEC               POWINST
ID        W                 mJ                  W
GPU 0     118.240           77102339            119.870
GPU 1     68.331            66093313            N/A
#Entity   POWER             TOTEC               POWINST
ID        W                 mJ                  W
GPU 0     N/A               N/A                 N/A
GPU 1     68.402            66100146            68.112
GPU-I 0   12.000            5                   6.000
GPU 0 LINK 3  1.000         2                   3.000
CPU 0     N/A               N/A                 N/A
Switch 0  1.000             2                   3.000
Error getting values information. Return

dmon was stopped do to receiving a signal
"""

DISCOVERY = """\
2 GPUs found.
+--------+----------------------------------------------------------------------+
| GPU ID | Device Information                                                   |
+--------+----------------------------------------------------------------------+
| 0      | Name: NVIDIA H100 80GB HBM3                                          |
|        | PCI Bus ID: 00000000:18:00.0                                         |
|        | Device UUID: GPU-0d2f1a1e-5a7c-11ee-8c99-0242ac120002                |
+--------+----------------------------------------------------------------------+
| 1      | Name: NVIDIA H100 80GB HBM3                                          |
|        | PCI Bus ID: 00000000:2A:00.0                                         |
|        | Device UUID: GPU-1c11                                                |
+--------+----------------------------------------------------------------------+
1 NvSwitches found.
+-----------+
| Switch ID |
+-----------+
| 7         |
+-----------+
1 CPUs found.
+--------+----------------------------------------------------------------------+
| CPU ID | Device Information                                                   |
+--------+----------------------------------------------------------------------+
| 0      | Name: Grace TH500                                                    |
+--------+----------------------------------------------------------------------+
"""

PAGE = """\
# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="a\\"b,c}"} 118.240000
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-b",modelName="Tesla T4"} 29.9 1700000000000
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-a"} 77102339
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1",UUID="GPU-b"} 9223372036854775794
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} NaN
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a"} 0
go_goroutines 33
DCGM_FI_DEV_POWER_USAGE{gpu="x",UUID="GPU-c"} 5
DCGM_FI_DEV_POWER_USAGE{gpu="2" 5
DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT{cpu="0",Hostname="n"} 101.5
DCGM_FI_DEV_POWER_USAGE{gpu="3",UUID="GPU-d"} 1"""


def test_a_transcript_of_dmon() -> None:
    rows = [row for line in DMON.splitlines() if (row := parse_row(line, FIELDS))]
    assert rows == [
        ("gpu", 0, (118.24, 77102339.0, 119.87)),
        ("gpu", 1, (68.331, 66093313.0, None)),
        ("gpu", 0, (None, None, None)),
        ("gpu", 1, (68.402, 66100146.0, 68.112)),
        ("cpu", 0, (None, None, None)),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "GPU 0 1.000 2",
        "GPU 0 1.000 2 3.000 4.000",
        "GPU 0 is lost at last",
        "GPU 123456789 1.0 2 3.0",
        "GPU ² 1.0 2 3.0",
        "gpu 0 1.0 2 3.0",
        "",
        "ID W mJ W",
    ],
)
def test_lines_that_are_no_rows(line: str) -> None:
    assert parse_row(line, FIELDS) is None


@pytest.mark.parametrize(
    ("text", "whole", "value"),
    [
        ("118.240", False, 118.24),
        ("0", True, 0.0),
        ("9223372036854775792", True, None),
        ("9223372036854775794", True, None),
        ("9223372036854775791", True, 9223372036854775791.0),
        ("140737488355328.000", False, None),
        ("140737488355330.000", False, None),
        ("9.223372036854775e+18", True, None),
        ("140737488355400", True, 140737488355400.0),
        ("-1", True, None),
        ("1234567...", True, None),
        ("N/A", False, None),
        ("nan", False, None),
        ("inf", False, None),
        ("1_000", True, None),
        ("٣", True, None),
        ("1e999", False, None),
    ],
)
def test_numbers_and_blanks(text: str, whole: bool, value: float | None) -> None:
    assert number_of(text, whole=whole) == value


def test_a_table_of_discovery() -> None:
    assert [(e.kind, e.index, e.model, e.uuid) for e in parse_discovery(DISCOVERY)] == [
        ("gpu", 0, "NVIDIA H100 80GB HBM3", "GPU-0d2f1a1e-5a7c-11ee-8c99-0242ac120002"),
        ("gpu", 1, "NVIDIA H100 80GB HBM3", "GPU-1c11"),
        ("cpu", 0, "Grace TH500", None),
    ]


@pytest.mark.parametrize(("line", "version"), [
    ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC version: 12", "535.104.05"),
    ("NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  570.86.15  Release Build  (dvs-builder)\n", "570.86.15"),
    ("GCC version:  gcc version 12.3.0", None),
    ("", None),
])  # fmt: skip
def test_the_driver_of_this_machine(line: str, version: str | None, tmp_path: Path) -> None:
    (tmp_path / "version").write_text(line)
    assert local_driver(tmp_path / "version") == version
    assert local_driver(tmp_path / "none") is None


def test_a_page_of_an_exporter() -> None:
    page = parse_page(PAGE)
    assert {key: (e.uuid, e.model, {n: v for n, (_, v) in e.values.items()}) for key, e in page.items()} == {
        ("gpu", 0): ("GPU-a", "NVIDIA H100 80GB HBM3", {155: 118.24, 156: 77102339.0}),
        ("gpu", 1): ("GPU-b", "Tesla T4", {155: 29.9}),
        ("cpu", 0): (None, None, {1130: 101.5}),
    }


def test_labels_are_unescaped() -> None:
    sample = next(iter(parse_samples('m{a="x\\\\y\\"z\\n",b="}, {"} 1\n')))
    assert sample.labels == {"a": 'x\\y"z\n', "b": "}, {"}


def test_slices_show_the_board_once() -> None:
    text = "".join(f'DCGM_FI_DEV_POWER_USAGE{{gpu="0",UUID="GPU-a",GPU_I_PROFILE="1g.10gb",GPU_I_ID="{n}"}} 300\n' for n in (7, 8, 9))
    (entity,) = parse_page(text).values()
    assert entity.sliced
    assert entity.values[155][1] == 300.0


WORDS = st.sampled_from(
    ["GPU", "CPU", "0", "1", "N/A", "118.240", "77102339", "#Entity", "ID", "LINK", "-5", "9223372036854775794", "nan", "1e9"]
)


@given(st.one_of(st.text(max_size=200), st.lists(WORDS, max_size=8).map(" ".join)))
def test_any_line_of_dmon(line: str) -> None:
    row = parse_row(line, LEDGER)
    if row is not None:
        assert row.kind in ("gpu", "cpu")
        words = line.split()
        for cell, value in zip(words[2:], row.values, strict=True):
            assert value is None or (math.isfinite(value) and value == float(cell) >= 0)


@given(st.one_of(st.text(max_size=400), st.text(alphabet="| +-GPUIDNameDevice:\n0123", max_size=400)))
def test_any_table_of_discovery(text: str) -> None:
    for entity in parse_discovery(text):
        assert entity.kind in ("gpu", "cpu")


@given(st.binary(max_size=600))
def test_any_page(body: bytes) -> None:
    parse_page(body.decode("utf-8", errors="replace"))


@given(st.integers(0, len(PAGE)), st.integers(0, len(PAGE)), st.text(max_size=3))
def test_a_page_that_was_cut_or_damaged_gives_no_wrong_number(start: int, length: int, dirt: str) -> None:
    """What is read from a piece of a page is in the whole page too, unless the damage itself is in it."""
    known = {(metric, text) for metric, _, text in parse_samples(PAGE + "\n")}
    cut = PAGE[: start + length]
    assert {(metric, text) for metric, _, text in parse_samples(cut)} <= known
    list(parse_samples(PAGE[:start] + dirt + PAGE[start:]))


@given(st.text(alphabet="0123456789.eE+-_N/A nif٣²", max_size=30), st.booleans())
def test_any_number(text: str, whole: bool) -> None:
    value = number_of(text, whole=whole)
    assert value is None or (math.isfinite(value) and value >= 0 and value == float(text))
