"""In another process, as the sampler runs it, and in real time: ten windows against the trace's integral."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tpb_core.testing.nvml_double import NvmlDouble, PowerTrace

SAMPLER = """
import json, sys, time
from tpb_core.api import MeterContext
from tpb_meter_nvml import NvmlConfig, NvmlMeter

class Clock:
    virtual = False
    def now_ns(self):
        return time.monotonic_ns()
    def sleep_until(self, t_ns):
        time.sleep(max(0, t_ns - time.monotonic_ns()) / 1e9)

events = []
clock = Clock()
meter = NvmlMeter(NvmlConfig(journal=sys.argv[1], characterise_s=0.0), MeterContext(clock, "run", lambda *event: events.append(event)))
meter.discover()
meter.open()
rows, tick = [], clock.now_ns()
while clock.now_ns() < tick + float(sys.argv[2]) * 1e9:
    rows += [reading for reading in meter.read() if reading.channel == "n0/gpu0/energy"]
    clock.sleep_until(tick + (len(rows) * 20_000_000))
meter.close()
print(json.dumps({"rows": rows, "events": [code for code, _, _ in events]}))
"""


@pytest.mark.slow
def test_ten_real_time_windows(tmp_path: Path, library: Path) -> None:
    trace = PowerTrace.square(120, 420, low_s=0.17, high_s=0.11)
    double = NvmlDouble(tmp_path, library=library).gpu("v100", trace)
    command = [sys.executable, "-c", SAMPLER, str(tmp_path / "journal"), "5.2"]
    done = subprocess.run(command, env={**os.environ, **double.build()}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["events"] == []
    readings = [(row[1], row[2], row[3], row[4]) for row in told["rows"]]
    windows = [(readings[25 * n], readings[25 * (n + 1)]) for n in range(10)]
    for first, last in windows:
        start_s, end_s = double.run_s((first[0] + first[1]) // 2), double.run_s((last[0] + last[1]) // 2)
        counted_j, true_j = last[2] - first[2], trace.energy_j(start_s, end_s)
        assert counted_j == pytest.approx(true_j, abs=2 * 420 * 0.02 + 0.5), "each end at most one refresh of 20 ms old"
        assert (last[3] - first[3]) / 1e9 == pytest.approx(end_s - start_s, abs=0.005), "the driver's stamps run with the clock"
