"""Ten windows in real time: the counter's energy against the trace's integral."""

from __future__ import annotations

import time

import pytest

from tpb_core.api import Reading
from tpb_core.testing.amdsmi_double import AmdGpu, AmdMachine
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.nvml_double import PowerTrace
from tpb_meter_amdsmi import AmdsmiConfig, AmdsmiMeter

TRACE = PowerTrace.square(120, 620, low_s=0.17, high_s=0.11)


@pytest.mark.slow
def test_ten_real_time_windows() -> None:
    machine = AmdMachine([AmdGpu("u", TRACE)])
    context = RecordingContext()
    readings: list[Reading] = []
    with machine.importable():
        meter = AmdsmiMeter(AmdsmiConfig(check_s=0.5), context)
        assert next(c.role for c in meter.discover() if c.kind == "energy_counter") == "primary"
        meter.open()
        end_s = time.monotonic() + 4.0
        while time.monotonic() < end_s:
            readings += [reading for reading in meter.read() if reading.channel == "n0/gpu0/energy"]
            time.sleep(0.02)
        meter.close()
    step = (len(readings) - 1) // 10
    for first, last in ((readings[n * step], readings[(n + 1) * step]) for n in range(10)):
        start_s, stop_s = (((r.t_before_ns + r.t_after_ns) / 2 - context.clock.offset_ns - machine.origin_ns) / 1e9 for r in (first, last))
        half_s = (first.t_after_ns - first.t_before_ns + last.t_after_ns - last.t_before_ns) / 2e9
        assert last.value - first.value == pytest.approx(TRACE.energy_j(start_s, stop_s), abs=620 * half_s + 0.01)
