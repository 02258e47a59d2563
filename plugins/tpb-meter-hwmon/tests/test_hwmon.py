"""hwmon sensors: which part of the machine they measure, what is not counted, and readings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import BadInput, Channel, EventCode, Reason, Unavailable
from tpb_core.testing.channel_rules import breaches
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_suite import MeterSuite
from tpb_core.testing.sysfs_tree import Attribute, HwmonTree
from tpb_core.testing.unprivileged import as_nobody
from tpb_meter_hwmon import HwmonConfig, HwmonMeter
from tpb_meter_hwmon.attribute import parse_number
from tpb_meter_hwmon.place import slug


@pytest.fixture
def tree(tmp_path: Path) -> HwmonTree:
    return HwmonTree(tmp_path / "hwmon")


def hwmon(tree: HwmonTree, **scopes: str) -> tuple[HwmonMeter, RecordingContext]:
    context = RecordingContext()
    return HwmonMeter(HwmonConfig(root=str(tree.root), scopes={key.replace("__", "/"): v for key, v in scopes.items()}), context), context


def places(channels: list[Channel]) -> dict[str, tuple[str, str | None, str, str]]:
    assert breaches(channels) == []
    return {c.channel: (c.domain, c.parent, c.scope, c.kind) for c in channels}


def grace(tree: HwmonTree, entry: str, name: str, watts: float) -> None:
    folder = tree.device(entry, "power_meter")
    tree.power(folder / "device" / "power1_average", watts)
    Attribute(folder / "device" / "power1_oem_info", name)
    Attribute(folder / "device" / "power1_average_interval", 50)


def test_grace_sockets_nest_so_that_nothing_is_counted_twice(tree: HwmonTree) -> None:
    for i, (name, watts) in enumerate([("CPU Power Socket 0", 80.0), ("Module Power Socket 0", 600.0), ("Grace Power Socket 0", 130.0)]):
        grace(tree, f"hwmon{i}", name, watts)
    grace(tree, "hwmon10", "SysIO Power Socket 0", 20.0)
    meter, _ = hwmon(tree)
    channels = meter.discover()
    assert sorted(places(channels).values()) == [
        ("n0/module0", "n0", "module", "power"),
        ("n0/module0/grace", "n0/module0", "soc", "power"),
        ("n0/module0/grace/cpu", "n0/module0/grace", "package", "power"),
        ("n0/module0/grace/sysio", "n0/module0/grace", "uncore", "power"),
    ]
    assert {c.averaging_ms for c in channels} == {50.0}
    meter.open()
    values = {r.channel.split("/power_meter")[0]: r.value for r in meter.read()}
    assert values["n0/module0"] == pytest.approx(600.0)
    assert values["n0/module0/grace/cpu"] == pytest.approx(80.0)
    meter.close()


@pytest.mark.parametrize("facts", [{"power1_oem_info": "Meter measures total domain"}, {"measures/LNXSYBUS:00": ""}])
def test_acpi_meter_of_the_whole_machine_is_the_node(tree: HwmonTree, facts: dict[str, str]) -> None:
    folder = tree.device("hwmon0", "power_meter", **{"power1_average": 412_000_000, "power1_average_interval": 1000, **facts})
    assert folder.exists()
    (channel,) = hwmon(tree)[0].discover()
    assert (channel.domain, channel.parent, channel.scope, channel.kind, channel.averaging_ms) == ("n0", None, "node", "power", 1000.0)


def test_a_sensor_of_unknown_place_is_a_gauge_with_a_hint(tree: HwmonTree) -> None:
    # Counted as a domain of its own it would be added to whatever else measures the same thing.
    tree.device("hwmon0", "amdgpu", power1_average=180_000_000, power1_label="PPT")
    meter, _ = hwmon(tree)
    (channel,) = meter.discover()
    assert (channel.kind, channel.unit, channel.scope) == ("gauge", "W", "other")
    assert "amdgpu/PPT" in channel.extensions["x_hint"]


def test_the_user_names_scope_role_and_domain(tree: HwmonTree) -> None:
    tree.device("hwmon0", "xe", energy1_input=5_000_000, energy1_label="card", power1_input=60_000_000, power1_label="card")
    tree.device("hwmon1", "pmbus", power1_input=300_000_000, power1_label="pin")
    tree.device("hwmon2", "pmbus", power1_input=310_000_000, power1_label="pin")
    channels = hwmon(tree, xe__card="gpu@gpu0", pmbus__pin="node:part")[0].discover()
    assert sorted(places(channels).values()) == [
        ("n0", None, "node", "power"), ("n0", None, "node", "power"),
        ("n0/gpu0", "n0", "gpu", "energy_counter"), ("n0/gpu0", "n0", "gpu", "power"),
    ]  # fmt: skip
    assert {c.role for c in channels if c.scope == "node"} == {"part"}
    gpu = [c.sensor for c in channels if c.scope == "gpu"]
    assert gpu[0] == gpu[1], "energy and power of one sensor: their agreement is consistency, not a cross-check"
    feeds = [c.sensor for c in channels if c.scope == "node"]
    assert feeds[0] != feeds[1]


@pytest.mark.parametrize("entry", ["gpus", "node:main", "", "node part", "gpu@"])
def test_a_scope_that_does_not_exist_is_refused(tree: HwmonTree, entry: str) -> None:
    tree.device("hwmon0", "pmbus", power1_input=1, power1_label="pin")
    with pytest.raises(BadInput, match=r"SCOPE\[:ROLE\]\[@DOMAIN\]"):
        hwmon(tree, pmbus__pin=entry)[0].discover()


def jetson(tree: HwmonTree, entry: str, rails: dict[int, tuple[str, int, int]]) -> Path:
    folder = tree.device(entry, "ina3221", update_interval=20, in7_input=5, in7_label="sum of shunt voltages", curr4_input=9)
    for channel, (label, millivolts, milliamperes) in rails.items():
        Attribute(folder / f"in{channel}_label", label)
        Attribute(folder / f"in{channel}_input", millivolts)
        Attribute(folder / f"curr{channel}_input", milliamperes)
        Attribute(folder / f"in{channel + 3}_input", 12)  # shunt voltage
    return folder


def test_jetson_rails_are_volts_times_amperes_below_the_module(tree: HwmonTree) -> None:
    jetson(tree, "hwmon1", {1: ("VDD_IN", 5000, 2000), 2: ("VDD_CPU_GPU_CV", 5000, 800), 3: ("VDD_SOC", 5000, 300)})
    meter, _ = hwmon(tree)
    channels = meter.discover()
    assert sorted(places(channels).values()) == [
        ("n0/module0", "n0", "module", "power"),
        ("n0/module0/cpu_gpu_cv", "n0/module0", "soc", "power"),
        ("n0/module0/soc", "n0/module0", "soc", "power"),
    ]
    assert {(c.averaging_ms, c.update_ms) for c in channels} == {(20.0, 20.0)}
    meter.open()
    assert sorted(r.value for r in meter.read()) == pytest.approx([1.5, 4.0, 10.0])
    meter.close()


def test_agx_orin_memory_rail_lies_inside_the_rail_that_feeds_it(tree: HwmonTree) -> None:
    jetson(tree, "hwmon3", {1: ("VDD_GPU_SOC", 19000, 300), 2: ("VDD_CPU_CV", 19000, 100), 3: ("VIN_SYS_5V0", 5000, 900)})
    jetson(tree, "hwmon4", {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 5000, 80), 3: ("NC", 0, 0)})
    found = places(hwmon(tree)[0].discover())
    assert ("n0/module0/sys_5v/dram", "n0/module0/sys_5v", "dram", "power") in found.values()
    assert len(found) == 4, "unconnected inputs, shunt voltages and their sum are no rails"


def test_amd_energy_is_the_register_that_rapl_reads(tree: HwmonTree) -> None:
    tree.device(
        "hwmon0", "amd_energy", energy1_input=9_000_000, energy1_label="Ecore000", energy65_input=80_000_000, energy65_label="Esocket0"
    )
    counted = [c for c in hwmon(tree)[0].discover() if c.kind == "energy_counter"]
    assert [(c.domain, c.sensor, c.evidence) for c in counted] == [("n0/cpu0", "machine-under-test/package-0", "modelled")]


def test_a_meter_that_cannot_tell_is_no_reading(tree: HwmonTree) -> None:
    folder = tree.device("hwmon0", "power_meter", power1_average=0xFFFFFFFF * 1000, power1_oem_info="Meter measures total domain")
    meter, context = hwmon(tree)
    with pytest.raises(Unavailable) as refusal:
        meter.discover()
    assert refusal.value.reason is Reason.UNSUPPORTED
    assert EventCode.METER_UNAVAILABLE in context.codes()
    Attribute(folder / "power1_average", 400_000_000)
    meter.discover()
    meter.open()
    Attribute(folder / "power1_average", 0xFFFFFFFF * 1000)
    assert list(meter.read()) == []
    meter.close()


def test_without_sensors(tree: HwmonTree) -> None:
    tree.device("hwmon0", "coretemp", temp1_input=40000)
    tree.device("hwmon1", "ina226", in1_input=12000, curr1_input=100)  # a voltage and a current that nobody says belong together
    with pytest.raises(Unavailable) as refusal:
        hwmon(tree)[0].discover()
    assert refusal.value.reason is Reason.NO_SENSOR


def test_permission_refusal(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == 0 and folder.name != "tmp":
            folder.chmod(folder.stat().st_mode | 0o055)
    tree = HwmonTree(tmp_path / "hwmon")
    tree.device("hwmon0", "power_meter", power1_average=5).joinpath("power1_average").chmod(0o400)
    meter, _ = hwmon(tree)

    def attempt() -> tuple[str, str]:
        try:
            meter.discover()
        except Unavailable as refusal:
            return str(refusal.reason), refusal.fix or ""
        return "", ""

    reason, fix = as_nobody(attempt)
    assert reason == "no_permission"
    assert "chmod a+r" in fix


@given(st.binary(max_size=40))
def test_numbers_on_any_bytes(raw: bytes) -> None:
    number = parse_number(raw)
    assert number is None or int(raw.split(b"\n", 1)[0] if raw.split(b"\n", 1)[0].strip() else raw.strip().split(b"\n", 1)[0]) == number


@given(st.text(max_size=60))
def test_any_label_makes_a_domain_name(label: str) -> None:
    assert set(slug(label)) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
    assert slug(label)


class TestHwmon(MeterSuite):
    @pytest.fixture
    def case(self, tree: HwmonTree) -> MeterCase:
        grace(tree, "hwmon0", "Grace Power Socket 0", 130.0)
        tree.device("hwmon7", "amdgpu", power1_average=180_000_000, power1_label="PPT")
        jetson(tree, "hwmon2", {1: ("VDD_CPU_CV", 5000, 2000)})
        broken = tree.root / "hwmon2" / "curr1_input"

        def break_rail() -> str:
            broken.write_text("nonsense\n")
            return "n0/module0/cpu_cv/ina3221_in1"

        return MeterCase(
            HwmonMeter,
            HwmonConfig(root=str(tree.root)),
            true_watts={"n0/module0/grace/power_meter_power1_average": 130.0, "n0/module0/cpu_cv/ina3221_in1": 10.0},
            break_channel=break_rail,
            refusals={Reason.NO_SENSOR: HwmonConfig(root=str(tree.root / "nothing"))},
        )
