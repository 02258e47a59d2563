"""The amdsmi meter passes the conformance suite on the stand-in module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tpb_core.api import Reason
from tpb_core.testing.amdsmi_double import AmdGpu, AmdMachine
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_suite import MeterSuite
from tpb_core.testing.nvml_double import PowerTrace
from tpb_meter_amdsmi import AmdsmiConfig, AmdsmiMeter


class TestAmdsmi(MeterSuite):
    @pytest.fixture
    def case(self) -> Iterator[MeterCase]:
        machine = AmdMachine([AmdGpu("a", PowerTrace.constant(500)), AmdGpu("b", PowerTrace.constant(300), has_counter=False)])

        def break_counter() -> str:
            machine.gpus[0].has_counter = False
            return "n0/gpu0/energy"

        with machine.importable():
            yield MeterCase(
                AmdsmiMeter,
                AmdsmiConfig(check_s=0.2),
                environ={"HIP_VISIBLE_DEVICES": "0"},
                true_watts={"n0/gpu0/energy": 500.0, "n0/gpu0/power": 500.0, "n0/gpu1/power": 300.0},
                break_channel=break_counter,
                refusals={Reason.NOT_CONFIGURED: AmdsmiConfig(devices="GPU-")},
            )
