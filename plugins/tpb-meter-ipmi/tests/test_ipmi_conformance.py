"""The IPMI meter passes the conformance suite through the real ipmitool and the real pyghmi, on ipmi_sim."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core.api import Reason
from tpb_core.testing.bmc_double.ipmi_sim import PASSWORD, USER, IpmiSim, what_is_missing
from tpb_core.testing.bmc_double.sensor_records import DEGREES_C, SYSTEM_BOARD, SimSensor
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_suite import MeterSuite
from tpb_meter_ipmi import IpmiConfig, IpmiMeter

SENSORS = [
    SimSensor("PSU1 Power In"),
    SimSensor("Inlet Temp", m=1, unit=DEGREES_C, entity=SYSTEM_BOARD),
    SimSensor("PSU2 Power In", m=8),
    SimSensor("PSU1 Power Out", m=4),
]


@pytest.fixture(params=["ipmitool", "pyghmi"])
def backend(request: pytest.FixtureRequest) -> str:
    if missing := what_is_missing():
        assert "CI" not in os.environ, f"CI has to run this: {missing}"
        pytest.skip(missing)
    if request.param == "pyghmi" and importlib.util.find_spec("pyghmi") is None:
        assert "CI" not in os.environ, "CI has to run this: pyghmi is not installed"
        pytest.skip("pyghmi is not installed")
    return str(request.param)


class TestIpmi(MeterSuite):
    @pytest.fixture
    def case(self, tmp_path: Path, backend: str) -> Iterator[MeterCase]:
        with IpmiSim(tmp_path / "bmc", SENSORS, dcmi_w=1304) as bmc:
            bmc.sensor("PSU1 Power In", 344.0)
            bmc.sensor("PSU2 Power In", 960.0)
            bmc.settle()
            options = {"host": "127.0.0.1", "port": bmc.port, "backend": backend, "user_env": "BMC_USER", "password_env": "BMC_PASSWORD"}

            def break_dcmi() -> str:
                bmc.dcmi(1304, code=0xC1)
                return "n0/ipmi_dcmi"

            yield MeterCase(
                IpmiMeter,
                IpmiConfig(interval_ms=40.0, **options),  # type: ignore[arg-type]
                environ={"BMC_USER": USER, "BMC_PASSWORD": PASSWORD},
                settle_s=2.0,
                true_watts={"n0/ipmi_dcmi": 1304.0, "n0/ipmi_psu1_power_in": 344.0, "n0/ipmi_psu2_power_in": 960.0},
                truth_rel=0.001,
                break_channel=break_dcmi,
                refusals={
                    Reason.NO_SENSOR: IpmiConfig(device=str(tmp_path / "no-such-device")),
                    Reason.NOT_CONFIGURED: IpmiConfig(host="127.0.0.1", port=bmc.port, user_env="NO_USER", password_env="NO_PASSWORD"),
                    Reason.UNREACHABLE: IpmiConfig(**{**options, "port": 9}),  # type: ignore[arg-type]
                    Reason.NOT_INSTALLED: IpmiConfig(**{**options, "backend": "ipmitool", "ipmitool": "no-such-ipmitool"}),  # type: ignore[arg-type]
                },
                heavy_modules=("numpy", "pyarrow", "pyghmi", "cryptography", "requests", "httpx"),
            )
