"""The Redfish meter passes the conformance suite on a service with TLS whose numbers change while they are read."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tpb_core.api import Reason
from tpb_core.testing.bmc_double.redfish import PASSWORD, USER
from tpb_core.testing.bmc_double.redfish_tree import chassis, supply
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_suite import MeterSuite
from tpb_meter_redfish import RedfishConfig, RedfishMeter


class TestRedfish(MeterSuite):
    @pytest.fixture
    def case(self, bench: Any) -> MeterCase:
        began_s = time.monotonic()
        watts = {"node": 1290.0, "a": 700.0, "b": 615.0}
        path = chassis(
            bench.tree,
            "1",
            metrics={"PowerWatts": lambda: watts["node"], "EnergyJoules": lambda: 1e6 + watts["node"] * (time.monotonic() - began_s)},
        )
        supply(bench.tree, path, "PSU1", {"InputPowerWatts": lambda: watts["a"]})
        supply(bench.tree, path, "PSU2", {"InputPowerWatts": lambda: watts["b"], "OutputPowerWatts": 570.0})
        url, ca_file = bench.service.url, str(bench.service.certificate)

        def break_feed() -> str:
            bench.service.broken[f"{path}/PowerSubsystem/PowerSupplies/PSU2/Metrics"] = 500
            return "n0/redfish_1_psu2_power"

        return MeterCase(
            RedfishMeter,
            RedfishConfig(url=url, ca_file=ca_file, interval_ms=40.0),
            environ={"REDFISH_USER": USER, "REDFISH_PASSWORD": PASSWORD},
            settle_s=2.0,
            true_watts={
                "n0/redfish_1_energy": 1290.0, "n0/redfish_1_power": 1290.0,
                "n0/redfish_1_psu1_power": 700.0, "n0/redfish_1_psu2_power": 615.0,
            },
            truth_s=1.0,
            truth_rel=0.05,
            break_channel=break_feed,
            refusals={
                Reason.NOT_CONFIGURED: RedfishConfig(),
                Reason.UNREACHABLE: RedfishConfig(url=url, interval_ms=40.0),  # nobody vouches for its certificate
                Reason.NO_PERMISSION: RedfishConfig(url=url, ca_file=ca_file, user="somebody else"),
            },
            heavy_modules=("numpy", "pyarrow", "requests", "httpx", "urllib3"),
        )  # fmt: skip
