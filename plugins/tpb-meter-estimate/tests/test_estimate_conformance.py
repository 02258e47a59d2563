"""The estimates pass the conformance suite."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

from tpb_core.api import Reason
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_suite import MeterSuite
from tpb_meter_estimate import EstimateConfig, EstimateMeter, GpuEstimateConfig, GpuEstimateMeter


class TestEstimate(MeterSuite):
    @pytest.fixture
    def case(self) -> MeterCase:
        return MeterCase(EstimateMeter, EstimateConfig(), pids=[os.getpid()])


class TestEstimateWithDeclaredModel(MeterSuite):
    @pytest.fixture
    def case(self) -> MeterCase:
        # An engine that does not exist uses no CPU: what remains is the declared idle power.
        config = EstimateConfig(w_per_core=6.0, idle_w=35.0)
        return MeterCase(EstimateMeter, config, pids=[2**22 - 1], true_watts={"n0/cpu_process/energy": 35.0})


class NvmlError(Exception):
    """Stands for pynvml.NVMLError."""


class TestGpuEstimate(MeterSuite):
    @pytest.fixture
    def case(self, monkeypatch: pytest.MonkeyPatch) -> MeterCase:
        utilisation = {0: 50, 1: 10}

        def rates(handle: int) -> SimpleNamespace:
            if handle not in utilisation:
                raise NvmlError("GPU is lost")
            return SimpleNamespace(gpu=utilisation[handle], memory=3)

        def lose_second() -> str:
            del utilisation[1]
            return "n0/gpu1/estimate"

        library = SimpleNamespace(
            NVMLError=NvmlError, nvmlInit=lambda: None, nvmlShutdown=lambda: None, nvmlDeviceGetCount=lambda: 2,
            nvmlDeviceGetName=lambda i: b"NVIDIA L4",
            nvmlDeviceGetHandleByIndex=lambda i: i, nvmlDeviceGetUUID=lambda i: f"GPU-{i}aaa", nvmlDeviceGetUtilizationRates=rates,
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "pynvml", library)  # type: ignore[arg-type]
        return MeterCase(
            GpuEstimateMeter,
            GpuEstimateConfig(tdp_w=300.0, idle_w=20.0),
            environ={"CUDA_VISIBLE_DEVICES": "0"},
            true_watts={"n0/gpu0/estimate": 160.0, "n0/gpu1/estimate": 48.0},
            break_channel=lose_second,
            refusals={Reason.NOT_CONFIGURED: GpuEstimateConfig()},
        )

    def test_gpu_that_the_engine_may_not_use_is_not_allocated(self, case: MeterCase) -> None:
        from tpb_core.testing.meter_context import RecordingContext

        meter = GpuEstimateMeter(case.config, RecordingContext(case.environ))  # type: ignore[arg-type]
        assert {c.device: (c.allocated, c.evidence) for c in meter.discover()} == {
            "GPU-0aaa": (True, "estimated"),
            "GPU-1aaa": (False, "estimated"),
        }
        meter.close()
