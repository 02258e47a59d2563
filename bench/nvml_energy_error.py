"""Energy error on traces whose integral is known: tpb, Zeus (window and get_energy), CodeCarbon, and mean power times duration.

    python bench/nvml_energy_error.py --others /path/to/python [--repeats 4]

`--others` is an interpreter in which `zeus` and `codecarbon` are installed. Every tool reads the same NVML double (an H100: counter and
power refreshed every 100 ms, power sampled for 25 of them, `nvmlDeviceGetPowerUsage` averaged over 1 s) in real time and in its own
process, and measures the same windows of the trace, `--repeats` times. Printed are the true energy, the mean error and the largest one,
in percent. tpb's figures carry a 95 % interval; `within` says how often it held the truth, `NULL` that it refused.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Window = tuple[str, float, float]

TRACES: dict[str, tuple[list[tuple[float, float]], list[Window]]] = {
    "idle-busy-idle": ([(1.5, 90.0), (3.03, 480.0), (1.5, 90.0)], [("busy", 1.5, 4.53)]),
    "25 ms bursts": ([(0.075, 120.0), (0.025, 560.0)] * 60, [("4 s of bursts", 1.0, 5.0)]),
    "two flat levels": ([(2.91, 200.0), (2.92, 600.0)], [("both", 0.41, 5.41)]),
    "prefill, decode": ([(1.0, 100.0), (0.3, 620.0), (3.6, 350.0), (1.03, 100.0)], [("prefill", 1.0, 1.3), ("decode", 1.3, 4.9)]),
}
"""Parts (seconds, watts), repeated for ever; windows in seconds of the period.

Periods are no multiple of the refresh, so that windows begin anywhere within it; except for the bursts, whose point it is to alias.
"""

Plan = Callable[[], list[Window]]
"""Asked for once the tool is ready: the windows to measure, on CLOCK_MONOTONIC, none of them begun."""
Measure = Callable[[Plan], dict[str, Any]]


def wait_until(mono_s: float) -> None:
    """Sleep until a time of CLOCK_MONOTONIC."""
    time.sleep(max(0.0, mono_s - time.monotonic()))


def by_tpb(plan: Plan) -> dict[str, Any]:
    """The NVML meter at its default interval, and the core's estimator."""
    import numpy as np

    from tpb_core.api import Series
    from tpb_core.api import Window as RunWindow
    from tpb_core.energy.domain_energy import domain_energy
    from tpb_core.energy.run_energy import RunEnergy
    from tpb_core.testing.memory_run import MemoryRun
    from tpb_core.testing.meter_context import RecordingContext
    from tpb_meter_nvml import NvmlConfig, NvmlMeter

    context = RecordingContext()
    context.clock.offset_ns = 0
    with tempfile.TemporaryDirectory() as journal:
        meter = NvmlMeter(NvmlConfig(journal=journal), context)
        channels = [channel for channel in meter.discover() if channel.kind in ("energy_counter", "power")]
        meter.open()
        windows = plan()
        readings: dict[str, list[Any]] = {channel.channel: [] for channel in channels}
        tick_s, until_s = time.monotonic(), windows[-1][2] + 1.0
        while tick_s < until_s:
            for reading in meter.read():
                if reading.channel in readings:
                    readings[reading.channel].append(reading)
            tick_s += meter.config.interval_ms / 1000
            wait_until(tick_s)
        meter.close()
    samples = {}
    for name, rows in readings.items():
        before = np.array([row.t_before_ns for row in rows], np.int64)
        after = np.array([row.t_after_ns for row in rows], np.int64)
        samples[name] = Series((before + after) // 2, (after - before) // 2, np.array([row.value for row in rows]))
    spans = [RunWindow(name, round(start_s * 1e9), round(end_s * 1e9)) for name, start_s, end_s in windows]
    energy = RunEnergy(MemoryRun(channels=channels, windows=spans, samples=samples))
    figures: dict[str, Any] = {}
    for span in spans:
        found = domain_energy(energy, energy.tree.domains["n0/gpu0"], span, largest_u_share=1.0)
        figures[span.window] = None if found.total is None else [found.total.joules, 1.96 * found.total.u_without_calibration_j]
    return figures


def by_zeus(plan: Plan) -> dict[str, Any]:
    """ZeusMonitor's windows: the counter at both ends."""
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
    figures = {}
    for name, start_s, end_s in plan():
        wait_until(start_s)
        monitor.begin_window(name, sync_execution=False)
        wait_until(end_s)
        figures[name] = [monitor.end_window(name, sync_execution=False).total_energy]
    return figures


def by_zeus_power(plan: Plan) -> dict[str, Any]:
    """PowerMonitor's get_energy: the trapezoid over readings without repeats."""
    import multiprocessing.synchronize

    from zeus.monitor.power import PowerMonitor

    wait = multiprocessing.synchronize.Event.wait
    multiprocessing.synchronize.Event.wait = lambda event, timeout=None: wait(event, timeout and 10 * timeout)  # type: ignore[method-assign]
    monitor = PowerMonitor(gpu_indices=[0], update_period=0.05, power_domains=["device_instant"])
    figures = {}
    shift_s = time.time() - time.monotonic()
    for name, start_s, end_s in plan():
        wait_until(end_s + 0.1)
        for _ in range(5):  # its queue is emptied in parts
            time.sleep(0.03)
            figures[name] = [(monitor.get_energy(start_s + shift_s, end_s + shift_s) or {}).get(0, 0.0)]
    monitor.stop()
    return figures


def by_codecarbon(plan: Plan) -> dict[str, Any]:
    """A tracker started and stopped around each window; one before them all, because the first start takes seconds."""
    from codecarbon import OfflineEmissionsTracker

    def tracker() -> Any:
        return OfflineEmissionsTracker(
            country_iso_code="DEU", measure_power_secs=1, save_to_file=False, log_level="error", allow_multiple_runs=True
        )

    first = tracker()
    first.start()
    first.stop()
    figures: dict[str, Any] = {}
    for name, start_s, end_s in plan():
        current = tracker()
        late = time.monotonic() > start_s
        wait_until(start_s)
        current.start()
        wait_until(end_s)
        current.stop()
        figures[name] = None if late else [current._total_gpu_energy.kWh * 3.6e6]
    return figures


def by_mean_power(plan: Plan) -> dict[str, Any]:
    """`nvmlDeviceGetPowerUsage` at 10 Hz, averaged, times the duration."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    figures = {}
    for name, start_s, end_s in plan():
        wait_until(start_s)
        watts = []
        while time.monotonic() < end_s:
            watts.append(pynvml.nvmlDeviceGetPowerUsage(handle) / 1000)
            time.sleep(0.1)
        figures[name] = [sum(watts) / len(watts) * (end_s - start_s)]
    return figures


TOOLS: dict[str, tuple[Measure, bool]] = {
    "tpb": (by_tpb, False),
    "zeus window": (by_zeus, True),
    "zeus get_energy": (by_zeus_power, True),
    "codecarbon": (by_codecarbon, True),
    "mean power": (by_mean_power, False),
}
"""How each is measured, and whether it needs the other interpreter."""


def measure(tool: str, origin_s: float, period_s: float, windows: list[Window], repeats: int) -> dict[str, Any]:
    """Each window in a period of its own, with a period between them: CodeCarbon's tracker takes seconds to start."""

    def plan() -> list[Window]:
        first = int((time.monotonic() + 3.0 - origin_s) / period_s) + 1
        planned = []
        for place, (turn, (name, start_s, end_s)) in enumerate((turn, window) for turn in range(repeats) for window in windows):
            begin_s = origin_s + (first + 2 * place) * period_s
            planned.append((f"{name}/{turn}", begin_s + start_s, begin_s + end_s))
        return planned

    return TOOLS[tool][0](plan)


def with_nvidia_smi(folder: str) -> str:
    """A search path with a program of that name on it: CodeCarbon looks for GPUs only where there is one."""
    program = Path(folder) / "nvidia-smi"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def report(name: str, tool: str, true_j: float, rows: list[Any]) -> None:
    """One line: mean and largest error in percent."""
    known = [row for row in rows if row is not None]
    if not known:
        print(f"{name:<16} {tool:<16} {true_j:>9.1f} {'NULL':>9}", flush=True)
        return
    errors = [100 * (row[0] / true_j - 1) for row in known]
    within = f"{sum(abs(row[0] - true_j) <= row[1] for row in known)}/{len(known)}" if len(known[0]) > 1 else ""
    width = f"{100 * sum(row[1] for row in known) / len(known) / true_j:.1f}" if within else ""
    nulls = f"{len(rows) - len(known)} NULL" if len(rows) > len(known) else ""
    mean, worst = sum(errors) / len(errors), max(errors, key=abs)
    print(f"{name:<16} {tool:<16} {true_j:>9.1f} {mean:>+9.2f} {worst:>+9.2f} {width:>8} {within:>7} {nulls}", flush=True)


def main() -> int:
    """All traces and tools."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", default=None, help="interpreter with zeus and codecarbon")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--job", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        print(json.dumps(measure(**json.loads(options.job))), flush=True)
        return 0
    from tpb_core.testing.nvml_double import NvmlDouble, PowerTrace

    print(f"{'window':<16} {'tool':<16} {'true J':>9} {'mean %':>9} {'worst %':>9} {'± 95 %':>8} {'within':>7}")
    for parts, windows in TRACES.values():
        period_s = sum(duration_s for duration_s, _ in parts)
        trace = PowerTrace(PowerTrace.steps(parts).levels, period_s)
        for tool, (_, elsewhere) in TOOLS.items():
            if elsewhere and not options.others:
                continue
            with tempfile.TemporaryDirectory() as folder:
                double = NvmlDouble(Path(folder)).gpu("h100", trace, noise_w=1.0, phase_ms=61, counter_phase_ms=37)
                environment = {**os.environ, **double.build(), "PYTHONWARNINGS": "ignore", "PATH": with_nvidia_smi(folder)}
                job = {
                    "tool": tool,
                    "origin_s": double.origin_ns / 1e9,
                    "period_s": period_s,
                    "windows": windows,
                    "repeats": options.repeats,
                }
                command = [options.others if elsewhere else sys.executable, __file__, "--job", json.dumps(job)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            if done.returncode or not lines:
                print(f"{windows[0][0]:<16} {tool:<16} failed: {(done.stderr.strip().splitlines() or ['nothing printed'])[-1]}", flush=True)
                continue
            figures = json.loads(lines[-1])
            for name, start_s, end_s in windows:
                report(name, tool, trace.energy_j(start_s, end_s), [figures[f"{name}/{turn}"] for turn in range(options.repeats)])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
