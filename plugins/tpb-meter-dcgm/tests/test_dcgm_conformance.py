"""The DCGM meter passes the conformance suite by each of its three ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core.api import Reason
from tpb_core.testing.dcgm_double import BINDINGS, DcgmGpu, DcgmMachine, Exporter, GraceCpu, install_dcgmi
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_suite import MeterSuite
from tpb_core.testing.nvml_double import PowerTrace
from tpb_meter_dcgm import DcgmConfig, DcgmMeter

HEAVY = ("numpy", "pyarrow", "pydcgm", "requests", "httpx")


def machine() -> DcgmMachine:
    return DcgmMachine(
        [DcgmGpu("GPU-a", PowerTrace.constant(300)), DcgmGpu("GPU-b", PowerTrace.constant(200), blank=(157,))],
        [GraceCpu()],
    )


class TestDcgmi(MeterSuite):
    @pytest.fixture
    def case(self, tmp_path: Path) -> MeterCase:
        program = install_dcgmi(tmp_path, machine().write(tmp_path / "machine.json"))
        missing = DcgmConfig(backend="dcgmi", dcgmi=str(tmp_path / "missing"))
        return MeterCase(
            DcgmMeter,
            DcgmConfig(backend="dcgmi", dcgmi=str(program), interval_ms=20.0),
            environ={"CUDA_VISIBLE_DEVICES": "0"},
            settle_s=2.0,
            true_watts={"n0/gpu0/dcgm_energy": 300.0, "n0/gpu1/dcgm_energy": 200.0, "n0/module0/grace/cpu/dcgm_power": 120.0},
            truth_s=1.5,
            truth_rel=0.08,
            refusals={Reason.NOT_INSTALLED: missing},
            heavy_modules=HEAVY,
        )


class TestBindings(MeterSuite):
    @pytest.fixture
    def case(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MeterCase:
        monkeypatch.setenv("TPB_DCGM_MACHINE", str(machine().write(tmp_path / "machine.json")))
        return MeterCase(
            DcgmMeter,
            DcgmConfig(backend="bindings", bindings=str(BINDINGS), interval_ms=20.0),
            environ={"CUDA_VISIBLE_DEVICES": "0"},
            settle_s=1.0,
            true_watts={"n0/gpu0/dcgm_energy": 300.0, "n0/module0/dcgm_power": 560.0},
            refusals={Reason.NOT_INSTALLED: DcgmConfig(backend="bindings", bindings=str(tmp_path))},
            heavy_modules=HEAVY,
        )


class TestExporter(MeterSuite):
    @pytest.fixture
    def case(self) -> Iterator[MeterCase]:
        with Exporter(machine(), collect_s=0.1) as exporter:
            yield MeterCase(
                DcgmMeter,
                DcgmConfig(url=exporter.url, scrape_ms=20.0, collect_ms=100.0),
                environ={"CUDA_VISIBLE_DEVICES": "0"},
                settle_s=2.0,
                true_watts={"n0/gpu0/dcgm_energy": 300.0},
                truth_s=2.0,
                truth_rel=0.1,
                refusals={Reason.UNREACHABLE: DcgmConfig(url="http://127.0.0.1:9/metrics")},
                heavy_modules=HEAVY,
            )
