"""One primary a domain, over all meters."""

from __future__ import annotations

from tpb_core.api.channel import Channel
from tpb_core.run.roles import settle_roles


def channel(
    name: str, meter: str, kind: str = "power", role: str | None = None, domain: str = "n0/gpu0", evidence: str = "measured"
) -> Channel:
    return Channel(channel=name, domain=domain, scope="gpu", kind=kind, unit="W", evidence=evidence, meter=meter, role=role)


def roles(*channels: Channel, order: list[str]) -> dict[str, str | None]:
    settle_roles(channels, order)
    return {c.channel: c.role for c in channels}


def test_a_counter_goes_before_power_within_one_meter() -> None:
    assert roles(channel("p", "nvml"), channel("e", "nvml", "energy_counter"), order=["nvml"]) == {"p": "check", "e": "primary"}


def test_the_meter_named_first_keeps_the_primary_and_a_second_one_is_no_second_gpu() -> None:
    got = roles(
        channel("dcgm", "dcgm", "energy_counter", "primary"), channel("nvml", "nvml", "energy_counter", "primary"), order=["nvml", "dcgm"]
    )
    assert got == {"nvml": "primary", "dcgm": "check"}


def test_an_estimate_never_goes_before_a_measurement() -> None:
    got = roles(channel("guess", "estimate", evidence="estimated"), channel("real", "rapl"), order=["estimate", "rapl"])
    assert got == {"guess": "check", "real": "primary"}


def test_two_feeds_stay_parts_and_another_meter_checks_them() -> None:
    got = roles(
        channel("psu0", "redfish", role="part", domain="n0"),
        channel("psu1", "redfish", role="part", domain="n0"),
        channel("bmc", "ipmi", domain="n0"),
        order=["redfish", "ipmi"],
    )
    assert got == {"psu0": "part", "psu1": "part", "bmc": "check"}


def test_a_lone_channel_is_primary_and_gauges_take_no_part() -> None:
    gauge = channel("temp", "nvml", "gauge")
    assert roles(channel("p", "nvml"), gauge, order=["nvml"])["p"] == "primary"
    assert gauge.role is None


def test_the_better_way_to_one_sensor_goes_first_whatever_the_order_of_the_meters() -> None:
    dcgm, nvml = channel("dcgm", "dcgm", "energy_counter", "primary"), channel("nvml", "nvml", "energy_counter", "primary")
    dcgm.extensions["x_precedence"], nvml.extensions["x_precedence"] = 20, 10
    assert roles(dcgm, nvml, order=["dcgm", "nvml"]) == {"dcgm": "check", "nvml": "primary"}
