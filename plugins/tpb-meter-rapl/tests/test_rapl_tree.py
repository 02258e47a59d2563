"""The RAPL meter on powercap trees: which zones become which channels, and what a reading is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpb_core.api import Channel, EventCode, Reason, Unavailable
from tpb_core.energy.domains import tree_of
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.sysfs_tree import PowercapTree
from tpb_core.testing.unprivileged import as_nobody
from tpb_meter_rapl import RaplConfig, RaplMeter

XEON = (
    "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) Platinum 8480+\n"
    "microcode\t: 0x2b0005c0\nflags\t\t: fpu sgx\n"
)
EPYC = "vendor_id\t: AuthenticAMD\ncpu family\t: 23\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7601\n"


def rapl(tree: PowercapTree, cpuinfo: str = XEON, **options: object) -> tuple[RaplMeter, RecordingContext]:
    described = tree.root.parent / f"{tree.root.name}.cpuinfo"
    described.write_text(cpuinfo)
    context = RecordingContext()
    config = RaplConfig(root=str(tree.root), perf_root=str(tree.root / "no-perf"), cpuinfo=str(described), **options)  # type: ignore[arg-type]
    return RaplMeter(config, context), context


def by_name(channels: list[Channel]) -> dict[str, Channel]:
    return {channel.channel: channel for channel in channels}


@pytest.fixture
def tree(tmp_path: Path) -> PowercapTree:
    return PowercapTree(tmp_path / "powercap")


def test_zones_of_a_server_become_domains_that_cannot_be_added_twice(tree: PowercapTree) -> None:
    tree.zone("intel-rapl:0", "package-0", 100.0, limit_w=350.0)
    tree.zone("intel-rapl:0:0", "core", 60.0)
    tree.zone("intel-rapl:0:1", "uncore", 5.0)
    tree.zone("intel-rapl:0:2", "dram", 20.0, range_uj=65_532_610_987)
    tree.zone("intel-rapl:1", "package-1", 110.0)
    tree.zone("intel-rapl:1:0", "dram", 21.0, range_uj=65_532_610_987)
    tree.zone("intel-rapl:2", "psys", 300.0)
    channels = by_name(rapl(tree)[0].discover())

    places = {name: (c.domain, c.parent, c.scope, c.role) for name, c in channels.items()}
    assert places == {
        "n0/cpu0/energy": ("n0/cpu0", "n0", "package", "primary"),
        "n0/cpu0/core/energy": ("n0/cpu0/core", "n0/cpu0", "core", "primary"),
        "n0/cpu0/uncore/energy": ("n0/cpu0/uncore", "n0/cpu0", "uncore", "primary"),
        "n0/dram0/energy": ("n0/dram0", "n0", "dram", "primary"),
        "n0/cpu1/energy": ("n0/cpu1", "n0", "package", "primary"),
        "n0/dram1/energy": ("n0/dram1", "n0", "dram", "primary"),
        "n0/psys/energy": ("n0/psys", "n0", "psys", "check"),
    }
    package = channels["n0/cpu0/energy"]
    assert package.sensor == "machine-under-test/package-0"
    assert package.wrap == pytest.approx(262143.328851)
    assert package.resolution == pytest.approx(2**-14, rel=1e-5)
    assert channels["n0/dram0/energy"].resolution == pytest.approx(2**-16, rel=1e-4)
    assert package.max_power_w == pytest.approx(420.0)
    assert (package.averaging_ms, package.update_ms) == (0.0, 1.0)
    assert package.gain_u_rel is None
    assert package.extensions["x_sgx"] is True


def test_sums_hold_packages_and_dram_only(tree: PowercapTree) -> None:
    # TokenPowerBench adds psys, core and uncore to the packages.
    tree.zone("intel-rapl:0", "package-0", 100.0)
    tree.zone("intel-rapl:0:0", "core", 60.0)
    tree.zone("intel-rapl:0:1", "uncore", 5.0)
    tree.zone("intel-rapl:0:2", "dram", 20.0)
    tree.zone("intel-rapl:1", "package-1-die-0", 50.0)
    tree.zone("intel-rapl:2", "package-1-die-1", 50.0)
    tree.zone("intel-rapl:3", "psys", 300.0)
    channels = rapl(tree)[0].discover()
    settle_roles(channels)
    domains = tree_of(channels)
    assert sorted(domains.coarsest()) == ["n0/cpu0", "n0/cpu1", "n0/dram0"]
    assert len(domains.domains["n0/cpu1"].givers) == 2, "a package of two dies is the sum of both"


def settle_roles(channels: list[Channel]) -> None:
    """What a session makes of a lone check: the primary of its own domain."""
    for channel in channels:
        if channel.role == "check":
            channel.role = "primary"


def test_package_number_comes_from_the_name_and_not_from_the_index(tree: PowercapTree) -> None:
    tree.zone("intel-rapl:0", "package-1", 10.0, start_uj=7_000_000)
    tree.zone("intel-rapl:1", "package-0", 10.0, start_uj=3_000_000)
    meter, _ = rapl(tree)
    meter.discover()
    meter.open()
    assert {r.channel: r.value for r in meter.read()} == {"n0/cpu0/energy": 3.0, "n0/cpu1/energy": 7.0}
    meter.close()


def test_dies_are_parts_of_their_package(tree: PowercapTree) -> None:
    for die in (0, 1):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", 50.0)
        tree.zone(f"intel-rapl:{die}:0", "dram", 5.0)
    channels = rapl(tree)[0].discover()
    assert [(c.channel, c.domain, c.role) for c in channels] == [
        ("n0/dram0/die0/energy", "n0/dram0", "part"),
        ("n0/dram0/die1/energy", "n0/dram0", "part"),
        ("n0/cpu0/die0/energy", "n0/cpu0", "part"),
        ("n0/cpu0/die1/energy", "n0/cpu0", "part"),
    ]
    assert len({c.sensor for c in channels}) == 4


def test_mmio_duplicate_is_read_once(tree: PowercapTree) -> None:
    tree.zone("intel-rapl-mmio:0", "package-0", 30.0)
    tree.zone("intel-rapl:0", "package-0", 30.0)
    channels = rapl(tree)[0].discover()
    assert [c.channel for c in channels] == ["n0/cpu0/energy"]
    assert channels[0].extensions["x_source"].endswith("intel-rapl:0/energy_uj")
    assert [Path(p).parent.name for p in channels[0].extensions["x_repeats_left_out"]] == ["intel-rapl-mmio:0"]


def test_amd_dies_that_mirror_one_counter_count_once(tree: PowercapTree) -> None:
    for die in range(4):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", 120.0, start_uj=55_000_000)
        tree.zone(f"intel-rapl:{die}:0", "core", 50.0, start_uj=1_000_000 * (die + 1))
    channels = rapl(tree, EPYC)[0].discover()
    packages = [c for c in channels if c.scope == "package"]
    assert [(c.channel, c.role, c.evidence) for c in packages] == [("n0/cpu0/energy", "primary", "modelled")]
    assert len([c for c in channels if c.scope == "core"]) == 4, "counters that differ are not mirrors"


def test_intel_dies_with_equal_counters_are_kept(tree: PowercapTree) -> None:
    for die in range(2):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", 120.0)
    assert len(rapl(tree)[0].discover()) == 2


def test_amd_has_neither_dram_nor_psys_and_none_is_invented(tree: PowercapTree) -> None:
    tree.zone("intel-rapl:0", "package-0", 120.0)
    tree.zone("intel-rapl:0:0", "core", 50.0)
    assert {c.scope for c in rapl(tree, EPYC)[0].discover()} == {"package", "core"}


def test_nested_tree_and_foreign_controls(tree: PowercapTree) -> None:
    tree.zone("intel-rapl/intel-rapl:0", "package-0", 10.0)
    tree.zone("intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram", 10.0)
    tree.zone("dtpm:0", "package-7", 10.0)
    assert [c.channel for c in rapl(tree)[0].discover()] == ["n0/dram0/energy", "n0/cpu0/energy"]


@pytest.mark.parametrize(("cpuinfo", "evidence"), [
    (XEON, {"package": "measured", "dram": "measured", "core": "modelled"}),
    (XEON.replace("Xeon(R) Platinum 8480+", "Core(TM) i7-8700"), {"package": "measured", "dram": "modelled", "core": "modelled"}),
    (XEON.replace(": 143", ": 45"), {"package": "modelled", "dram": "modelled", "core": "modelled"}),
    (EPYC, {"package": "modelled", "dram": "modelled", "core": "modelled"}),
    ("", {"package": "modelled", "dram": "modelled", "core": "modelled"}),
])  # fmt: skip
def test_evidence_follows_the_processor(tree: PowercapTree, cpuinfo: str, evidence: dict[str, str]) -> None:
    tree.zone("intel-rapl:0", "package-0", 10.0)
    tree.zone("intel-rapl:0:0", "core", 10.0)
    tree.zone("intel-rapl:0:1", "dram", 10.0)
    assert {c.scope: c.evidence for c in rapl(tree, cpuinfo)[0].discover()} == evidence


def test_readings_follow_the_counter_through_its_wrap(tree: PowercapTree) -> None:
    range_uj = 1_000_000_000
    tree.zone("intel-rapl:0", "package-0", 50.0, start_uj=range_uj - 20_000_000, range_uj=range_uj)
    meter, context = rapl(tree)
    (channel,) = meter.discover()
    meter.open()
    values = []
    for _ in range(3):
        values += [r.value for r in meter.read()]
        tree.advance(0.3)  # 15 J
    assert values == pytest.approx([980.0, 995.0, 10.0 - 1e-6])
    assert channel.wrap is not None
    assert (values[2] - values[1]) % channel.wrap == pytest.approx(15.0)
    assert context.events == []
    meter.close()


def test_a_hole_longer_than_the_counter_range_is_reported(tree: PowercapTree) -> None:
    tree.zone("intel-rapl:0", "package-0", 50.0, range_uj=1_000_000, limit_w=1000.0)  # 1 J at 1200 W: wraps after 0.8 ms
    meter, context = rapl(tree)
    meter.discover()
    meter.open()
    meter.read()
    meter.read()
    context.clock.sleep_until(context.clock.now_ns() + 5_000_000)
    meter.read()
    assert EventCode.DOUBLE_WRAP_POSSIBLE in context.codes()
    meter.close()


def test_a_counter_that_breaks_is_left_out_and_reported_once_and_never_zero(tree: PowercapTree) -> None:
    package = tree.zone("intel-rapl:0", "package-0", 50.0, start_uj=5_000_000)
    tree.zone("intel-rapl:0:0", "dram", 5.0, start_uj=1_000_000)
    meter, context = rapl(tree)
    meter.discover()
    meter.open()
    for nonsense in ("", "-3", "none", str(10**30), "12 34"):
        package.attribute.write(nonsense)
        assert [r.channel for r in meter.read()] == ["n0/dram0/energy"], nonsense
    assert [(e.code, e.channel) for e in context.events] == [(EventCode.METER_ERROR, "n0/cpu0/energy")]
    package.attribute.write(6_000_000)
    assert {r.channel: r.value for r in meter.read()}["n0/cpu0/energy"] == 6.0
    meter.close()


def test_no_tree_is_no_sensor(tmp_path: Path) -> None:
    context = RecordingContext()
    meter = RaplMeter(RaplConfig(root=str(tmp_path / "nothing"), perf_root=str(tmp_path)), context)
    with pytest.raises(Unavailable, match="no RAPL zone") as refusal:
        meter.discover()
    assert refusal.value.reason is Reason.NO_SENSOR


def test_masked_tree_in_a_container_is_no_permission(tree: PowercapTree) -> None:
    (tree.root / "intel-rapl:0").symlink_to(tree.root / "hidden")
    with pytest.raises(Unavailable, match="hidden from this container") as refusal:
        rapl(tree)[0].discover()
    assert refusal.value.reason is Reason.NO_PERMISSION


@pytest.fixture
def public_tree(tmp_path: Path) -> PowercapTree:
    """A tree that a user without rights can walk into (pytest's folders are private)."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == 0 and folder.name != "tmp":
            folder.chmod(folder.stat().st_mode | 0o055)
    tree = PowercapTree(tmp_path / "powercap")
    tree.root.chmod(0o755)
    return tree


def test_permission_refusal_names_three_ways(public_tree: PowercapTree) -> None:
    tree = public_tree
    tree.zone("intel-rapl:0", "package-0", 50.0, mode=0o400)
    tree.zone("intel-rapl:0:0", "dram", 50.0, mode=0o400)
    meter, _ = rapl(tree)

    def attempt() -> tuple[str, str]:
        try:
            meter.discover()
        except Unavailable as refusal:
            return str(refusal.reason), refusal.fix or ""
        return "", ""

    reason, fix = as_nobody(attempt)
    assert reason == "no_permission"
    assert f"sudo chmod a+r {tree.root}/intel-rapl*/energy_uj" in fix
    assert "/etc/udev/rules.d/" in fix
    assert "sudo setcap" in fix
    assert "sudo -E" in fix


def test_zones_that_may_not_be_read_are_reported_beside_those_that_may(public_tree: PowercapTree) -> None:
    tree = public_tree
    tree.zone("intel-rapl:0", "package-0", 50.0)
    tree.zone("intel-rapl:0:0", "dram", 50.0, mode=0o400)
    meter, context = rapl(tree)

    def attempt() -> tuple[list[str], list[tuple[str, str]]]:
        return [c.channel for c in meter.discover()], [(str(e.code), e.message) for e in context.events]

    channels, events = as_nobody(attempt)
    assert channels == ["n0/cpu0/energy"]
    assert [code for code, _ in events] == ["meter_unavailable"]
    assert "package-0/dram" in events[0][1]
