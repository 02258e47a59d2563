"""Whatever bytes the kernel's files hold: a value, nothing, or a named error; never another exception and never a wrong number."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import Reason, Unavailable
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.sysfs_tree import Attribute
from tpb_meter_rapl import RaplConfig, RaplMeter
from tpb_meter_rapl.perf import PerfCounter, parse_cpu_list, parse_event, parse_perf_count, parse_scale, perf_counters, read_pmu
from tpb_meter_rapl.perf_event import event_attr
from tpb_meter_rapl.powercap import parse_count
from tpb_meter_rapl.processor import Processor, parse_cpuinfo
from tpb_meter_rapl.zone import Zone, parse_zone_name

SCALE = "2.3283064365386962890625e-10"


@given(st.binary(max_size=64))
def test_count_is_a_plain_number_or_nothing(raw: bytes) -> None:
    count = parse_count(raw)
    if count is not None:
        assert raw.split()[0].decode().lstrip("0") in (str(count), "" if count == 0 else str(count))


@given(st.integers(0, 2**64 - 1), st.sampled_from([b"", b"\n", b"\nleftover"]))
def test_counts_come_back_unchanged(count: int, tail: bytes) -> None:
    assert parse_count(str(count).encode() + tail) == count


@pytest.mark.parametrize("raw", [b"", b"\n", b"-1", b"1.5", b"0x10", b"12 34", b"1e6", b"9" * 21, "٣".encode()])
def test_what_is_no_count(raw: bytes) -> None:
    assert parse_count(raw) is None


@given(st.text(max_size=40))
def test_any_text_is_a_zone_or_nothing(name: str) -> None:
    for parent in (None, Zone(0, "package"), Zone(0, "psys")):
        zone = parse_zone_name(name, parent)
        assert zone is None or zone.sensor.split("/")[-1] == name.strip() or zone.kind in ("package", "psys")


@given(st.integers(0, 9999), st.none() | st.integers(0, 99))
def test_package_names(package: int, die: int | None) -> None:
    name = f"package-{package}" + ("" if die is None else f"-die-{die}")
    assert parse_zone_name(name + "\n", None) == Zone(package, "package", die)
    assert parse_zone_name(name, Zone(0, "package")) is None, "a package inside a package is not one"


@given(st.text(max_size=60))
def test_perf_descriptions_never_raise(text: str) -> None:
    parse_event(text)
    scale = parse_scale(text)
    assert scale is None or scale > 0
    assert all(0 <= cpu < 65536 for cpu in parse_cpu_list(text))
    parse_cpuinfo(text)


def test_perf_descriptions_of_a_real_machine() -> None:
    assert parse_event("event=0x02\n") == 2
    assert parse_scale(SCALE) == 2.0**-32
    assert parse_cpu_list("0,14\n") == (0, 14)
    assert parse_cpu_list("0-2,8") == (0, 1, 2, 8)
    assert parse_cpu_list("3-1") == ()
    assert parse_event("event=0x02,umask=1") is None


@given(st.binary(max_size=16))
def test_perf_count_is_eight_bytes_or_an_error(raw: bytes) -> None:
    if len(raw) == 8:
        assert struct.pack("=Q", parse_perf_count(raw)) == raw
    else:
        with pytest.raises(ValueError, match="instead of 8"):
            parse_perf_count(raw)


def test_attr_is_laid_out_as_the_kernel_reads_it() -> None:
    attr = event_attr(0x1A, 0x02)
    assert len(attr) == 64
    assert struct.unpack_from("=IIQ", attr) == (0x1A, 64, 2)
    assert not any(attr[16:])


@pytest.fixture
def perf_root(tmp_path: Path) -> Path:
    root = tmp_path / "power"
    Attribute(root / "type", 26)
    Attribute(root / "cpumask", "0,14")
    for event, config in {"energy-pkg": "0x02", "energy-ram": "0x03", "energy-psys": "0x05"}.items():
        Attribute(root / "events" / event, f"event={config}")
        Attribute(root / "events" / f"{event}.scale", SCALE)
        Attribute(root / "events" / f"{event}.unit", "Joules")
    return root


def topology(root: Path, cpus: dict[int, tuple[int, int]]) -> Path:
    for cpu, (package, die) in cpus.items():
        Attribute(root / f"cpu{cpu}" / "topology" / "physical_package_id", package)
        Attribute(root / f"cpu{cpu}" / "topology" / "die_id", die)
    return root


def test_perf_events_of_two_sockets(perf_root: Path, tmp_path: Path) -> None:
    pmu = read_pmu(perf_root)
    assert pmu is not None
    counters = perf_counters(pmu, topology(tmp_path / "cpu", {0: (1, 0), 14: (0, 0)}), Processor())
    assert [c.zone for c in counters] == [Zone(0, "dram"), Zone(0, "package"), Zone(0, "psys"), Zone(1, "dram"), Zone(1, "package")]
    assert all(c.wrap_j == 0 for c in counters)


def test_perf_dies_are_told_apart(perf_root: Path, tmp_path: Path) -> None:
    pmu = read_pmu(perf_root)
    assert pmu is not None
    counters = perf_counters(pmu, topology(tmp_path / "cpu", {0: (0, 0), 14: (0, 1)}), Processor())
    assert [c.zone for c in counters if c.zone.kind == "package"] == [Zone(0, "package", 0), Zone(0, "package", 1)]
    assert len([c for c in counters if c.zone.kind == "psys"]) == 1, "one platform, whatever the number of packages"


def test_bogus_events_of_old_kernels_on_amd_are_left_out(perf_root: Path, tmp_path: Path) -> None:
    pmu = read_pmu(perf_root)
    assert pmu is not None
    counters = perf_counters(pmu, topology(tmp_path / "cpu", {0: (0, 0), 14: (1, 0)}), Processor(vendor="AuthenticAMD"))
    assert {c.zone.kind for c in counters} == {"package"}


def test_unit_other_than_joules_is_not_guessed(perf_root: Path) -> None:
    for event in ("energy-pkg", "energy-ram", "energy-psys"):
        Attribute(perf_root / "events" / f"{event}.unit", "Watts")
    assert read_pmu(perf_root) is None


def test_perf_backend_without_events_is_no_sensor(tmp_path: Path) -> None:
    meter = RaplMeter(RaplConfig(backend="perf", perf_root=str(tmp_path)), RecordingContext())
    with pytest.raises(Unavailable, match="no RAPL event") as refusal:
        meter.discover()
    assert refusal.value.reason is Reason.NO_SENSOR


def test_perf_backend_on_a_kernel_that_does_not_know_the_event(perf_root: Path, tmp_path: Path) -> None:
    # Type 4000000 belongs to no event source, so the real system call refuses it: unsupported, or not permitted at all.
    Attribute(perf_root / "type", 4_000_000)
    Attribute(perf_root / "cpumask", 0)
    meter = RaplMeter(RaplConfig(backend="perf", perf_root=str(perf_root), cpu_root=str(tmp_path)), RecordingContext())
    with pytest.raises(Unavailable) as refusal:
        meter.discover()
    assert refusal.value.reason in (Reason.UNSUPPORTED, Reason.NO_PERMISSION)


def test_perf_counter_reads_a_real_software_event() -> None:
    # PERF_TYPE_SOFTWARE (1), PERF_COUNT_SW_CPU_CLOCK (0): nanoseconds, on every kernel; the same path that a RAPL event takes.
    counter = PerfCounter(Zone(0, "package"), 1, 0, 1e-9, 0)
    try:
        counter.open()
    except OSError as error:
        pytest.skip(f"perf events are closed to us here: {error}")
    first = counter.read_j()
    second = counter.read_j()
    counter.close()
    counter.close()
    assert 0 <= first < second < 1.0
