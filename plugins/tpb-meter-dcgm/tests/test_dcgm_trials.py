"""Ten windows in real time by each way to DCGM: the counter's energy against the trace's integral, within what the stamps allow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tpb_core.api import Reading
from tpb_core.testing.dcgm_double import BINDINGS, DcgmGpu, DcgmMachine, Exporter, install_dcgmi
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.nvml_double import PowerTrace
from tpb_meter_dcgm import DcgmConfig, DcgmMeter

HIGH_W = 420.0
TRACE = PowerTrace.square(120, HIGH_W, low_s=0.17, high_s=0.11)
Configure = Callable[[DcgmMachine], DcgmConfig]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Configure]:
    with ExitStack() as stack:

        def make(machine: DcgmMachine) -> DcgmConfig:
            path = machine.write(tmp_path / "machine.json")
            if request.param == "dcgmi":
                return DcgmConfig(backend="dcgmi", dcgmi=str(install_dcgmi(tmp_path, path)), interval_ms=20.0)
            if request.param == "bindings":
                monkeypatch.setenv("TPB_DCGM_MACHINE", str(path))
                return DcgmConfig(backend="bindings", bindings=str(BINDINGS), interval_ms=20.0)
            exporter = stack.enter_context(Exporter(machine, collect_s=0.05))
            return DcgmConfig(url=exporter.url, scrape_ms=10.0, collect_ms=50.0)

        yield make


@pytest.mark.slow
@pytest.mark.parametrize("configure", ["dcgmi", "bindings", "exporter"], indirect=True)
def test_ten_real_time_windows(configure: Configure) -> None:
    machine = DcgmMachine([DcgmGpu("GPU-a", TRACE)])
    context = RecordingContext()
    meter = DcgmMeter(configure(machine), context)
    meter.discover()
    meter.open()
    readings: list[Reading] = []
    end_s = time.monotonic() + 5.0
    while time.monotonic() < end_s:
        readings += [reading for reading in meter.read() if reading.channel == "n0/gpu0/dcgm_energy"]
        time.sleep(0.02)
    meter.close()
    step = (len(readings) - 1) // 10
    assert step >= 3
    for first, last in ((readings[n * step], readings[(n + 1) * step]) for n in range(10)):
        (start_s, start_u_s), (stop_s, stop_u_s) = (_when(reading, context, machine) for reading in (first, last))
        true_j = TRACE.energy_j(start_s, stop_s)
        assert last.value - first.value == pytest.approx(true_j, abs=HIGH_W * (start_u_s + stop_u_s + 0.02) + 0.01)


def _when(reading: Reading, context: RecordingContext, machine: DcgmMachine) -> tuple[float, float]:
    """(middle, half width) of a reading's bracket in seconds of the trace."""
    middle_ns = (reading.t_before_ns + reading.t_after_ns) / 2 - context.clock.offset_ns - machine.origin_ns
    return middle_ns / 1e9, (reading.t_after_ns - reading.t_before_ns) / 2e9
