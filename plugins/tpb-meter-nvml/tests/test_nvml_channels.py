"""Which channels a board gets: domains, scopes, roles, timing and priors."""

from __future__ import annotations

from typing import Any

import pytest

from tpb_core.api import Channel, EventCode, Reason, Unavailable
from tpb_core.testing.nvml_double import PowerTrace


def ledger(channels: list[Channel]) -> dict[str, Channel]:
    return {c.channel: c for c in channels if c.kind in ("energy_counter", "power")}


def test_counter_is_primary_and_powers_check_it(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-one")
    channels = ledger(bench.meter().discover())
    assert {name: (c.domain, c.parent, c.scope, c.role, c.sensor) for name, c in channels.items()} == {
        "n0/gpu0/energy": ("n0/gpu0", "n0", "gpu", "primary", "GPU-one"),
        "n0/gpu0/power": ("n0/gpu0", "n0", "gpu", "check", "GPU-one"),
        "n0/gpu0/power_average": ("n0/gpu0", "n0", "gpu", "check", "GPU-one"),
        "n0/gpu0/memory/power_average": ("n0/gpu0/memory", "n0/gpu0", "gpu_memory", "primary", "GPU-one/memory"),
    }
    assert (channels["n0/gpu0/power"].averaging_ms, channels["n0/gpu0/power_average"].averaging_ms) == (25.0, 1000.0)
    assert channels["n0/gpu0/energy"].wrap == 0
    assert channels["n0/gpu0/energy"].max_power_w == 1050.0, "half above the highest limit of 700 W"
    assert {c.evidence for c in channels.values()} == {"measured"}


@pytest.mark.parametrize(
    ("sensor", "averaging_ms", "average_offered"),
    [("v100", 15.0, False), ("a100", 25.0, False), ("h100", 25.0, True), ("rtx3090", 100.0, True)],
)
def test_averaging_times_are_those_of_the_class(bench: Any, sensor: str, averaging_ms: float, average_offered: bool) -> None:
    bench.double.gpu(sensor)
    channels = ledger(bench.meter().discover())
    assert channels["n0/gpu0/power"].averaging_ms == averaging_ms
    assert channels["n0/gpu0/power"].extensions["x_timing_source"]
    assert ("n0/gpu0/power_average" in channels) is average_offered


@pytest.mark.parametrize("name", ["NVIDIA H200", "NVIDIA B200", "NVIDIA L40S", "NVIDIA L4", "Tesla T4", "NVIDIA GH200 480GB", "NVIDIA A30"])
def test_models_without_data_get_no_averaging_time(bench: Any, name: str) -> None:
    bench.double.gpu("h100", name=name)
    channels = ledger(bench.meter().discover())
    assert channels["n0/gpu0/power"].averaging_ms is None
    assert channels["n0/gpu0/power_average"].averaging_ms == 1000.0, "the driver's own words, whatever the model"


def test_gain_prior_exists_for_geforce_only(bench: Any) -> None:
    bench.double.gpu("h100").gpu("rtx3090").gpu("a100")
    channels = ledger(bench.meter({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).discover())
    prior = channels["n0/gpu1/energy"]
    assert (prior.gain_u_rel, prior.offset_u_w, prior.common_r) == (0.037, 5.9, 0.4)
    assert prior.common_group == "nvidia/NVIDIA GeForce RTX 3090"
    assert prior.calibration is not None
    assert prior.calibration["source"] == "prior"
    for name in ("n0/gpu0/energy", "n0/gpu2/energy"):
        assert (channels[name].gain_u_rel, channels[name].calibration) == (None, None)


def test_grace_hopper_counts_the_module_and_the_gpu_lies_in_it(bench: Any) -> None:
    bench.double.gpu("gh200", PowerTrace.constant(400), uuid="GPU-g")
    meter = bench.meter()
    channels = ledger(meter.discover())
    bench.clock.sleep_until(110_000_000_000)
    assert {name: (c.domain, c.parent, c.scope, c.role) for name, c in channels.items()} == {
        "n0/module0/energy": ("n0/module0", "n0", "module", "primary"),
        "n0/module0/power": ("n0/module0", "n0", "module", "check"),
        "n0/module0/power_average": ("n0/module0", "n0", "module", "check"),
        "n0/gpu0/power": ("n0/gpu0", "n0/module0", "gpu", "primary"),
        "n0/gpu0/power_average": ("n0/gpu0", "n0/module0", "gpu", "check"),
        "n0/gpu0/memory/power_average": ("n0/gpu0/memory", "n0/gpu0", "gpu_memory", "primary"),
    }
    values = bench.read(meter)
    assert (values["n0/module0/power"], values["n0/gpu0/power"], values["n0/module0/energy"]) == (480.0, 400.0, 52_800.0)


def test_grace_hopper_without_gpu_power_has_no_gpu_domain(bench: Any) -> None:
    bench.double.gpu("gh200", unsupported=((186, 0), (185, 0), (185, 2), (186, 2)))
    channels = ledger(bench.meter().discover())
    assert {c.scope for c in channels.values()} == {"module"}


def test_a_superchip_whose_driver_offers_no_module_still_lies_in_it(bench: Any) -> None:
    """Another meter of the module (hwmon on Grace) would otherwise stand beside the GPU and count it a second time."""
    bench.double.gpu("h100", name="NVIDIA GH200 480GB").gpu("h100")
    channels = ledger(bench.meter({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}).discover())
    assert channels["n0/gpu0/power"].parent == "n0/module0"
    assert channels["n0/gpu1/power"].parent == "n0"


def test_without_a_counter_power_is_primary_and_the_reason_is_told(bench: Any) -> None:
    bench.double.gpu("h100", unsupported=((83, None), (186, 2)))
    channels = ledger(bench.meter().discover())
    assert "n0/gpu0/energy" not in channels
    assert (channels["n0/gpu0/power"].role, channels["n0/gpu0/power_average"].role) == ("primary", "check")
    code, message, channel = next(event for event in bench.events if event[2] == "n0/gpu0/energy")
    assert code == EventCode.METER_UNAVAILABLE
    assert message.startswith("unsupported: ")
    assert channel == "n0/gpu0/energy"


def test_a_machine_where_nothing_is_offered_says_unsupported(bench: Any) -> None:
    bench.double.gpu("v100", unsupported=((83, None), (186, None), (185, None), (0, None)))
    with pytest.raises(Unavailable) as caught:
        bench.meter().discover()
    assert caught.value.reason == Reason.UNSUPPORTED


def test_a_machine_without_gpus_or_permission_says_so(bench: Any) -> None:
    with pytest.raises(Unavailable) as nothing:
        bench.meter().discover()
    assert nothing.value.reason == Reason.NO_SENSOR
    bench.double.permission = "none"
    bench.double.gpu("h100")
    with pytest.raises(Unavailable) as forbidden:
        bench.meter().discover()
    assert forbidden.value.reason == Reason.NO_PERMISSION


def test_refresh_periods_are_measured_not_assumed(bench: Any) -> None:
    """A board that refreshes every 500 ms, as non-data-centre boards do on recent drivers, is found out in 3 s."""
    shape = PowerTrace.square(100, 300, low_s=0.07, high_s=0.05)
    bench.double.gpu("h100", shape, counter_refresh_ms=500, refresh_ms=500).gpu("h100", shape)
    channels = ledger(bench.meter(characterise_s=3.0).discover())
    slow, fast = channels["n0/gpu0/energy"], channels["n0/gpu1/energy"]
    assert slow.update_ms == pytest.approx(500, abs=5)
    assert fast.update_ms == pytest.approx(100, abs=2)
    assert fast.update_u_ms is not None
    assert fast.update_u_ms < 3


def test_steady_power_does_not_pretend_a_slow_refresh(bench: Any) -> None:
    bench.double.gpu("h100", PowerTrace.square(100, 300, low_s=0.9, high_s=0.9))
    channels = ledger(bench.meter(characterise_s=3.0).discover())
    assert channels["n0/gpu0/power"].update_ms == 100.0, "changes every 900 ms, which is the load and not the sensor"


def test_gauges_are_offered_for_boards_of_the_run_only(bench: Any) -> None:
    bench.double.gpu("h100").gpu("h100")
    channels = bench.meter({"CUDA_VISIBLE_DEVICES": "1"}).discover()
    gauges = {c.channel: c.kind for c in channels if c.kind not in ("energy_counter", "power")}
    context = "temperature clock_sm clock_memory throttle_reasons power_limit utilisation utilisation_memory read_latency"
    assert set(gauges) == {f"n0/gpu1/{name}" for name in context.split()}
    assert gauges["n0/gpu1/throttle_reasons"] == "bitmask"
