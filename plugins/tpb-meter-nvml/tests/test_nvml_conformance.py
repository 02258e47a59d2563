"""The NVML meter passes the conformance suite, in real time on the compiled double."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pynvml
import pytest

from tpb_core.api import Reason
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_suite import MeterSuite
from tpb_core.testing.nvml_double import NvmlDouble, PowerTrace
from tpb_meter_nvml import NvmlConfig, NvmlMeter


class TestNvml(MeterSuite):
    @pytest.fixture
    def case(self, tmp_path: Path, library: Path) -> Iterator[MeterCase]:
        (tmp_path / "machine").mkdir()
        double = NvmlDouble(tmp_path / "machine", library=library)
        double.gpu("h100", PowerTrace.constant(300), counter_refresh_ms=5).gpu("gh200", PowerTrace.constant(400), counter_refresh_ms=5)
        double.gpu("v100", PowerTrace.constant(150), counter_refresh_ms=5)

        def break_average() -> str:
            double.gpus[0] = dataclasses.replace(double.gpus[0], failures=((0.0, None, 185, 3),))
            double.rewrite()
            pynvml.nvmlShutdown()
            pynvml.nvmlInit()
            return "n0/gpu0/power_average"

        options = {"journal": str(tmp_path / "journal"), "characterise_s": 0.0}
        # The broken field is also that of memory power, which stays out of the suite's way by not being offered.
        double.gpus[0] = dataclasses.replace(double.gpus[0], memory_trace=None)
        with double.in_process():
            yield MeterCase(
                NvmlMeter,
                NvmlConfig(**options),
                environ={"CUDA_VISIBLE_DEVICES": "0,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
                true_watts={
                    "n0/gpu0/energy": 300.0,
                    "n0/gpu0/power": 300.0,
                    "n0/module1/energy": 480.0,
                    "n0/gpu1/power": 400.0,
                    "n0/gpu2/energy": 150.0,
                },
                break_channel=break_average,
                refusals={Reason.NOT_CONFIGURED: NvmlConfig(devices="GPU-", **options)},
            )
