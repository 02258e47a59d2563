"""What a service offers as channels: node, feeds, modules, PDUs, outlets, and which of them give the energy."""

from __future__ import annotations

from typing import Any

import pytest

from tpb_core.api import BadInput, Channel, EventCode, Reason, Unavailable
from tpb_core.testing.bmc_double import redfish_tree as tree
from tpb_core.testing.channel_rules import breaches


def facts(channels: dict[str, Channel]) -> dict[str, tuple[str, str | None, str, str | None, str]]:
    assert breaches(list(channels.values())) == []
    return {name.removeprefix("n0/redfish_"): (c.domain, c.parent, c.scope, c.role, c.kind) for name, c in channels.items()}


def test_two_feeds_add_up_and_the_chassis_is_their_check(bench: Any) -> None:
    path = tree.chassis(bench.tree, "1", metrics={"PowerWatts": 1300, "EnergykWh": 123.456})
    tree.supply(bench.tree, path, "PSU1", {"InputPowerWatts": 700, "EnergykWh": 50.0, "OutputPowerWatts": 650})
    tree.supply(bench.tree, path, "PSU2", {"InputPowerWatts": 610})
    tree.supply(bench.tree, path, "PSU3", None, state="Absent")
    assert facts(bench.channels()) == {
        "1_power": ("n0", None, "node", "check", "power"),
        "1_energy_kwh": ("n0", None, "node", "check", "energy_counter"),
        "1_psu1_power": ("n0", None, "psu", "part", "power"),
        "1_psu1_energy_kwh": ("n0", None, "psu", "check", "energy_counter"),
        "1_psu1_out_power": ("n0", None, "other", None, "gauge"),
        "1_psu2_power": ("n0", None, "psu", "part", "power"),
    }


def test_a_supply_that_keeps_silent_spoils_the_sum(bench: Any) -> None:
    path = tree.chassis(bench.tree, "1", metrics={"PowerWatts": 1300})
    tree.supply(bench.tree, path, "PSU1", {"InputPowerWatts": 700})
    tree.supply(bench.tree, path, "PSU2", {"InputPowerWatts": None})
    found = facts(bench.channels())
    assert found["1_power"] == ("n0", None, "node", "primary", "power")
    assert found["1_psu1_power"] == ("n0/1_psu1", "n0", "psu", "primary", "power")


def test_a_counter_in_joules_goes_before_power(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 1300, "EnergyJoules": 5e9, "EnergykWh": 1388.9})
    found = facts(bench.channels())
    assert {name: place[3] for name, place in found.items()} == {"1_energy": "primary", "1_power": "check", "1_energy_kwh": "check"}


def test_kilowatt_hours_become_joules(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 1300, "EnergykWh": 123.5})
    meter, _ = bench.run()
    assert {r.value for r in bench.watch(meter, 0.3) if r.channel == "n0/redfish_1_energy_kwh"} == {123.5 * 3.6e6}


def test_legacy_power_only_where_there_is_nothing_newer(bench: Any) -> None:
    path = tree.chassis(bench.tree, "1")
    tree.legacy_power(bench.tree, path, [3440, 900, 120], [1800, 1710])
    found = facts(bench.channels())
    assert found == {
        "1_power": ("n0", None, "node", "check", "power"),
        "1_psu1_power": ("n0", None, "psu", "part", "power"),
        "1_psu2_power": ("n0", None, "psu", "part", "power"),
    }
    bench.tree[path]["EnvironmentMetrics"] = {"@odata.id": f"{path}/EnvironmentMetrics"}
    bench.tree[f"{path}/EnvironmentMetrics"] = tree.excerpts({"PowerWatts": 3500})
    assert list(facts(bench.channels())) == ["1_power"]
    meter, _ = bench.run()
    assert {reading.value for reading in bench.watch(meter, 0.2)} == {3500.0}


def test_only_the_first_control_loop_is_the_node(bench: Any) -> None:
    path = tree.chassis(bench.tree, "1")
    tree.legacy_power(bench.tree, path, [3440, 900, 120])
    assert list(facts(bench.channels())) == ["1_power"]
    meter, _ = bench.run()
    assert {reading.value for reading in bench.watch(meter, 0.2)} == {3440.0}


def test_several_servers_behind_one_service_have_to_be_told_apart(bench: Any) -> None:
    for name in ("Blade1", "Blade2"):
        tree.chassis(bench.tree, name, kind="Blade", metrics={"PowerWatts": 500})
    with pytest.raises(BadInput, match="Blade1, Blade2"):
        bench.channels()
    found = facts(bench.channels(chassis=["Blade2"]))
    assert found["blade2_power"][3:] == ("primary", "power")
    assert found["blade1_power"][3:] == (None, "gauge")
    with pytest.raises(BadInput, match="no 'Blade3'"):
        bench.channels(chassis=["Blade3"])


def test_gpus_of_a_baseboard_in_their_order(bench: Any) -> None:
    path = tree.chassis(bench.tree, "1", metrics={"PowerWatts": 6540})
    tree.supply(bench.tree, path, "PSU1", {"InputPowerWatts": 6600})
    tree.chassis(bench.tree, "HGX_GPU_SXM_2", kind="Module", metrics={"PowerWatts": 641})
    for number in (10, 2, 1):
        metrics: dict[str, tree.Live] = {"PowerWatts": 600 + number, "EnergyJoules": 1e6}
        tree.processor(
            bench.tree, "HGX_Baseboard_0", f"GPU_SXM_{number}", "GPU", metrics, f"0000000{number % 10}-0000-0000-0000-000000000000"
        )
    found = bench.channels()
    assert {name: (c.domain, c.scope, c.role) for name, c in found.items() if "gpu" in name} == {
        "n0/redfish_gpu_sxm_1_energy": ("n0/gpu0", "gpu", "primary"), "n0/redfish_gpu_sxm_1_power": ("n0/gpu0", "gpu", "check"),
        "n0/redfish_gpu_sxm_2_energy": ("n0/gpu1", "gpu", "primary"), "n0/redfish_gpu_sxm_2_power": ("n0/gpu1", "gpu", "check"),
        "n0/redfish_gpu_sxm_10_energy": ("n0/gpu2", "gpu", "primary"), "n0/redfish_gpu_sxm_10_power": ("n0/gpu2", "gpu", "check"),
    }  # fmt: skip
    assert found["n0/redfish_gpu_sxm_1_power"].sensor == "GPU-00000001-0000-0000-0000-000000000000"


def test_gpus_that_the_run_does_not_use_are_not_allocated(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 6540})
    for number in (1, 2):
        tree.processor(bench.tree, "S", f"GPU_SXM_{number}", "GPU", {"PowerWatts": 600 + number})
    meter, context = bench.meter()
    context.environ = {**context.environ, "CUDA_VISIBLE_DEVICES": "1"}
    allocated = {channel.channel: channel.allocated for channel in meter.discover()}
    assert allocated == {"n0/redfish_1_power": True, "n0/redfish_gpu_sxm_1_power": False, "n0/redfish_gpu_sxm_2_power": True}


def test_superchip_modules_contain_their_processors(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 2900})
    for number in (0, 1):
        tree.chassis(bench.tree, f"HGX_ProcessorModule_{number}", kind="Module", metrics={"PowerWatts": 1200})
        tree.chassis(bench.tree, f"HGX_CPU_{number}", kind="Module", metrics={"PowerWatts": 250})
    for number in range(4):
        tree.chassis(bench.tree, f"HGX_GPU_{number}", kind="Module", metrics={"PowerWatts": 480})
    found = facts(bench.channels())
    assert found["hgx_processormodule_1_power"][:3] == ("n0/module1", "n0", "module")
    assert [found[f"hgx_gpu_{n}_power"][:2] for n in range(4)] == [(f"n0/gpu{n}", f"n0/module{n // 2}") for n in range(4)]
    assert found["hgx_cpu_1_power"][:3] == ("n0/cpu1", "n0/module1", "package")


def pdu(bench: Any) -> None:
    tree.pdu(
        bench.tree, "PDU1", {"PowerWatts": 9000, "EnergykWh": 4711.0},
        {"A1": {"PowerWatts": 640, "EnergykWh": 12.5}, "A2": {"PowerWatts": 655}, "A3": {"PowerWatts": 3000}},
    )  # fmt: skip


def test_outlets_of_this_node_add_up_and_others_lie_outside_it(bench: Any) -> None:
    pdu(bench)
    found = bench.channels(outlets=["PDU1/A1", "PDU1/A2"])
    assert facts(found) == {
        "pdu1_power": ("n0/pdu/pdu1", None, "rack", "primary", "power"),
        "pdu1_energy_kwh": ("n0/pdu/pdu1", None, "rack", "check", "energy_counter"),
        "pdu1_a1_power": ("n0", None, "outlet", "part", "power"),
        "pdu1_a1_energy_kwh": ("n0", None, "outlet", "check", "energy_counter"),
        "pdu1_a2_power": ("n0", None, "outlet", "part", "power"),
        "pdu1_a3_power": ("n0/outlet/pdu1_a3", None, "outlet", "primary", "power"),
    }
    assert {name.rpartition("/")[2] for name, channel in found.items() if not channel.allocated} == {
        "redfish_pdu1_power", "redfish_pdu1_energy_kwh", "redfish_pdu1_a3_power",
    }  # fmt: skip
    with pytest.raises(BadInput, match=r"no 'PDU1/B1'"):
        bench.channels(outlets=["PDU1/B1"])


def test_a_pdu_without_named_outlets_says_that_nothing_counts(bench: Any) -> None:
    pdu(bench)
    meter, context = bench.run()
    assert {reading.channel for reading in bench.watch(meter, 0.4)} == {channel.channel for channel in meter.discover()}
    assert context.events[0].code is EventCode.METER_UNAVAILABLE
    assert "meter.redfish.outlets=[...] of PDU1/A1, PDU1/A2, PDU1/A3" in context.events[0].message


def test_a_server_and_its_pdu_in_one_run(bench: Any, certificates: Any) -> None:
    from tpb_core.testing.bmc_double.redfish import RedfishService

    with RedfishService(certificates) as other:
        path = tree.chassis(other.tree, "1", metrics={"PowerWatts": 1240})
        tree.supply(other.tree, path, "PSU1", {"InputPowerWatts": 635})
        tree.supply(other.tree, path, "PSU2", {"InputPowerWatts": 650})
        pdu(bench)
        meter, context = bench.run(url=f"{bench.service.url} {other.url}", outlets=["PDU1/A1", "PDU1/A2"])
        roles = {c.channel: c.role for c in (item.channel for item in meter._described.values()) if c.domain == "n0" and c.kind == "power"}
        readings = bench.watch(meter, 0.5)
        meter.close()
    assert roles == {
        "n0/redfish_pdu1_a1_power": "part", "n0/redfish_pdu1_a2_power": "part", "n0/redfish_1_power": "check",
        "n0/redfish_1_psu1_power": "check", "n0/redfish_1_psu2_power": "check",
    }  # fmt: skip
    assert set(roles) <= {reading.channel for reading in readings}
    assert context.events == []


def test_pages_of_a_collection(bench: Any) -> None:
    path = tree.chassis(bench.tree, "1", metrics={"PowerWatts": 6000})
    supplies = f"{path}/PowerSubsystem/PowerSupplies"
    for number in range(4):
        tree.supply(bench.tree, path, f"PSU{number}", {"InputPowerWatts": 1500})
    members = bench.tree[supplies]["Members"]
    bench.tree[supplies] = {"Members": members[:3], "Members@odata.nextLink": f"{supplies}/2"}
    bench.tree[f"{supplies}/2"] = {"Members": members[3:], "Members@odata.nextLink": supplies}
    assert sum(place[3] == "part" for place in facts(bench.channels()).values()) == 4


def test_a_service_without_power(bench: Any) -> None:
    tree.chassis(bench.tree, "1")
    with pytest.raises(Unavailable) as refusal:
        bench.channels()
    assert refusal.value.reason is Reason.UNSUPPORTED
