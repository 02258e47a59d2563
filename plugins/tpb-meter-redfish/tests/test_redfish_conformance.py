"""The Redfish meter passes the conformance suite on a service with TLS, in its own process, whose numbers change while they are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core.api import Reason
from tpb_core.testing.bmc_double.redfish import PASSWORD, USER
from tpb_core.testing.bmc_double.redfish_program import WATTS, RedfishProgram
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_suite import MeterSuite
from tpb_meter_redfish import RedfishConfig, RedfishMeter


class TestRedfish(MeterSuite):
    @pytest.fixture
    def case(self, certificates: Path) -> Iterator[MeterCase]:
        with RedfishProgram(certificates) as bmc:

            def break_feed() -> str:
                bmc.tell("break /redfish/v1/Chassis/1/PowerSubsystem/PowerSupplies/PSU2/Metrics 500")
                return "n0/redfish_1_psu2_power"

            yield MeterCase(
                RedfishMeter,
                RedfishConfig(url=bmc.url, ca_file=bmc.certificate, interval_ms=40.0),
                environ={"REDFISH_USER": USER, "REDFISH_PASSWORD": PASSWORD},
                settle_s=2.0,
                true_watts={
                    "n0/redfish_1_energy": WATTS["node"], "n0/redfish_1_power": WATTS["node"],
                    "n0/redfish_1_psu1_power": WATTS["a"], "n0/redfish_1_psu2_power": WATTS["b"],
                },
                truth_s=1.0,
                truth_rel=0.05,
                break_channel=break_feed,
                refusals={
                    Reason.NOT_CONFIGURED: RedfishConfig(),
                    Reason.UNREACHABLE: RedfishConfig(url=bmc.url),  # nobody vouches for its certificate
                    Reason.NO_PERMISSION: RedfishConfig(url=bmc.url, ca_file=bmc.certificate, user="somebody else"),
                },
                heavy_modules=("numpy", "pyarrow", "requests", "httpx", "urllib3"),
            )  # fmt: skip
