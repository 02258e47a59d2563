"""The NVML double read by the real nvidia-ml-py in another process, as a sampler reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tpb_core.testing.nvml_double import MigSlice, NvmlDouble, PowerTrace, VirtualClock, compile_library
from tpb_core.testing.nvml_double.library import compiler

pytest.importorskip("pynvml")
pytestmark = pytest.mark.skipif(compiler() is None, reason="no C compiler")

ASK = """
import json, sys, time
import pynvml as nvml

def field(h, number, scope=0):
    row = nvml.nvmlDeviceGetFieldValues(h, [(number, scope)])[0]
    return [row.nvmlReturn, row.value.ullVal if row.valueType == 3 else row.value.uiVal, row.timestamp]

nvml.nvmlInit()
handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
print(json.dumps(eval(sys.stdin.read())))
"""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_library(tmp_path_factory.mktemp("nvml"))


def ask(double: NvmlDouble, question: str) -> Any:
    done = subprocess.run([sys.executable, "-c", ASK], input=question, env={**os.environ, **double.build()}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_real_binding_lists_gpus_by_uuid_and_name(tmp_path: Path, library: Path) -> None:
    double = NvmlDouble(tmp_path, library=library).gpu("h100", uuid="GPU-1").gpu("v100", uuid="GPU-2", name="Tesla V100-PCIE-16GB")
    seen = ask(double, "[[nvml.nvmlDeviceGetUUID(h), nvml.nvmlDeviceGetName(h), nvml.nvmlDeviceGetArchitecture(h)] for h in handles]")
    assert seen == [["GPU-1", "NVIDIA H100 80GB HBM3", 9], ["GPU-2", "Tesla V100-PCIE-16GB", 5]]
    assert ask(double, "nvml.nvmlSystemGetDriverVersion()") == "580.95.05"


def test_counter_and_clocks_agree_with_the_trace_in_real_time(tmp_path: Path, library: Path) -> None:
    double = NvmlDouble(tmp_path, library=library).gpu("v100", PowerTrace.square(100, 300, low_s=0.1, high_s=0.1))
    question = "[field(handles[0], 83), time.sleep(0.5), field(handles[0], 83), time.time_ns(), time.monotonic_ns()]"
    first, _, second, realtime_ns, monotonic_ns = ask(double, question)
    joules = (second[1] - first[1]) / 1000
    elapsed_s = (second[2] - first[2]) / 1e6
    assert joules == pytest.approx(200.0 * elapsed_s, abs=300 * 0.02 + 10), (
        "200 W on average, refreshed every 20 ms, half a period unaligned"
    )
    assert 0 <= realtime_ns / 1000 - second[2] < 1e5, "stamps are CLOCK_REALTIME in microseconds"
    expected_j = double.gpus[0].trace.energy_j(0, double.run_s(monotonic_ns))
    assert second[1] / 1000 == pytest.approx(expected_j, abs=300 * 0.1)


@pytest.mark.parametrize(
    ("sensor", "expected"),
    [
        ("v100", {"instant": 0, "average": 3, "module": 3}),
        ("a100", {"instant": 0, "average": 3, "module": 3}),
        ("h100", {"instant": 0, "average": 0, "module": 3}),
        ("gh200", {"instant": 0, "average": 0, "module": 0}),
        ("rtx3090", {"instant": 0, "average": 0, "module": 3}),
    ],
)
def test_each_class_offers_what_its_driver_does(tmp_path: Path, library: Path, sensor: str, expected: dict[str, int]) -> None:
    double = NvmlDouble(tmp_path, library=library).gpu(sensor)
    codes = ask(double, "[field(handles[0], 186)[0], field(handles[0], 185)[0], field(handles[0], 186, 1)[0]]")
    assert dict(zip(("instant", "average", "module"), codes, strict=True)) == expected


def test_virtual_time_shows_window_refresh_and_average(tmp_path: Path, library: Path) -> None:
    clock = VirtualClock(tmp_path / "clock", start_ns=10_000_000_000)
    trace = PowerTrace.steps([(10.0, 100.0), (1.0, 500.0), (1.0, 100.0)])
    double = NvmlDouble(tmp_path, clock=clock, library=library).gpu("h100", trace)
    # At 10.4 s the reading is that of the refresh at 10.4 s: 500 W over 25 ms; the average over 1 s holds 0.4 s of 500 W.
    clock.sleep_until(10_410_000_000)
    instant, average, counter = ask(double, "[field(handles[0], 186), field(handles[0], 185), field(handles[0], 83)]")
    assert instant[1] == 500_000
    assert average[1] == 260_000
    assert counter[1] == 1_000_000 + 200_000, "1000 J until 10 s, then 0.4 s at 500 W"
    assert counter[2] == (10_410_000_000 + 1_790_000_000_000_000_000) // 1000


def test_a_module_counts_more_than_its_gpu(tmp_path: Path, library: Path) -> None:
    clock = VirtualClock(tmp_path / "clock", start_ns=10_000_000_000)
    double = NvmlDouble(tmp_path, clock=clock, library=library).gpu("gh200", PowerTrace.constant(400))
    assert [row[1] for row in ask(double, "[field(handles[0], 186, 0), field(handles[0], 186, 1), field(handles[0], 83)]")] == [
        400_000,
        480_000,
        4_800_000,
    ]


def test_gpus_vanish_return_and_reset(tmp_path: Path, library: Path) -> None:
    clock = VirtualClock(tmp_path / "clock")
    double = NvmlDouble(tmp_path, clock=clock, library=library)
    double.gpu("h100", PowerTrace.constant(100), absent_s=((5, 8),)).gpu("h100", PowerTrace.constant(100), reset_s=(10.0,))
    count = "nvml.nvmlDeviceGetCount()"
    clock.sleep_until(4_000_000_000)
    assert ask(double, count) == 2
    clock.sleep_until(6_000_000_000)
    assert ask(double, count) == 1
    clock.sleep_until(12_000_000_000)
    assert ask(double, count) == 2
    assert ask(double, "[field(h, 83)[1] for h in handles]") == [1_200_000, 200_000]


def test_a_counter_may_add_up_readings_instead(tmp_path: Path, library: Path) -> None:
    """20 ms bursts in the sampled quarter of each 100 ms: the readings, 420 W, miss that the mean is 180 W."""
    clock = VirtualClock(tmp_path / "clock", start_ns=20_050_000_000)
    bursts = PowerTrace(((0.0, 100.0), (0.075, 420.0)), 0.1)
    double = NvmlDouble(tmp_path, clock=clock, library=library)
    double.gpu("a100", bursts, counter_from_samples=True).gpu("a100", bursts)
    aliased_mj, true_mj = ask(double, "[field(h, 83)[1] for h in handles]")
    assert true_mj == pytest.approx(180.0 * 20.0 * 1000)
    assert aliased_mj == pytest.approx(420.0 * 20.0 * 1000)


def test_slices_have_uuids_and_no_power(tmp_path: Path, library: Path) -> None:
    slices = (MigSlice("MIG-a", 3, 1), MigSlice("MIG-b", 4, 2))
    double = NvmlDouble(tmp_path, library=library).gpu("a100", mig_mode=True, mig=slices)
    question = (
        "[[nvml.nvmlDeviceGetUUID(m), nvml.nvmlDeviceGetAttributes(m).gpuInstanceSliceCount, field(m, 186)[0]]"
        " for m in [nvml.nvmlDeviceGetMigDeviceHandleByIndex(handles[0], i) for i in range(2)]]"
    )
    assert ask(double, question) == [["MIG-a", 3, 3], ["MIG-b", 4, 3]]
    assert ask(double, "nvml.nvmlDeviceGetMigMode(handles[0])") == [1, 1]


def test_settings_outlive_the_process(tmp_path: Path, library: Path) -> None:
    double = NvmlDouble(tmp_path, library=library).gpu("h100")
    ask(double, "[nvml.nvmlDeviceSetPowerManagementLimit(handles[0], 400000), nvml.nvmlDeviceSetGpuLockedClocks(handles[0], 900, 1200)]")
    assert double.settings(0) == (400.0, 900, 1200)
    assert ask(double, "[nvml.nvmlDeviceGetEnforcedPowerLimit(handles[0]), nvml.nvmlDeviceGetClockInfo(handles[0], 1)]") == [400_000, 1200]
    assert [change[2] for change in double.changes()] == ["power_limit", "lock_clocks"]


def test_a_call_takes_as_long_as_told(tmp_path: Path, library: Path) -> None:
    double = NvmlDouble(tmp_path, library=library, latency_us=2000).gpu("h100")
    spent_s, latency_us = ask(
        double,
        "(lambda t: [nvml.nvmlDeviceGetPowerUsage(handles[0]), time.perf_counter() - t, "
        "nvml.nvmlDeviceGetFieldValues(handles[0], [83])[0].latencyUsec][1:])(time.perf_counter())",
    )
    assert spent_s >= 0.002
    assert latency_us == 2000


def test_traces_know_their_integral() -> None:
    trace = PowerTrace.square(100, 500, low_s=0.3, high_s=0.2)
    assert trace.energy_j(0, 0.5) == pytest.approx(130.0)
    assert trace.energy_j(0.2, 1.4) == pytest.approx(10 + 100 + 130 + 30 + 50)
    assert trace.energy_j(-0.1, 0) == pytest.approx(50.0)
    assert [trace.power_w(t) for t in (0.0, 0.29, 0.3, 0.6)] == [100, 100, 500, 100]
