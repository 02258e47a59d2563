"""What reading GPUs costs, side by side: tpb's sampler, Zeus' PowerMonitor and CodeCarbon's tracker on one NVML double.

    python bench/nvml_reading_cost.py --others /path/to/python [--seconds 10]

`--others` is an interpreter in which `zeus` and `codecarbon` are installed. Each tool runs in its own process, as it is meant to run,
at 10 and 100 Hz with 1 and 8 GPUs whose power changes at every refresh. `cpu` is the share of one core that all its processes used
(the kernel's account, start-up left out), `reading` the median time of one reading of all GPUs, `per s` the readings that it managed.

They do not read the same. tpb reads counter, instantaneous, average and memory power in one call and writes every sample to disk.
Zeus' monitor reads three powers in three processes and keeps changes in memory; its reading here is those three and the counter.
CodeCarbon reads the counter; its tracker looks at CPU and RAM as well.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RATES_HZ = (10, 100)
GPUS = (1, 8)
TOOLS = ("tpb", "zeus", "codecarbon")


def median_us(read: Callable[[], Any], times: int = 200) -> float:
    """Median time of a call in microseconds."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        read()
        spent.append(time.perf_counter() - start)
        time.sleep(0.002)
    return 1e6 * statistics.median(spent)


def cpu_s() -> float:
    """CPU seconds of this process and its children so far."""
    import psutil

    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def share_of_core(seconds: float, count: Callable[[], float]) -> dict[str, float]:
    """CPU share and readings a second while the tool works in the background."""
    time.sleep(1.0)
    cpu, readings, begin = cpu_s(), count(), time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    return {"cpu_percent": 100 * (cpu_s() - cpu) / elapsed, "per_s": (count() - readings) / elapsed}


def run_tpb(rate_hz: int, seconds: float) -> dict[str, float]:
    """The real sampler process, writing a bundle's spool."""
    from tpb_core.run.sampler_client import ProcessSampler
    from tpb_core.store.manifest import new_run_id
    from tpb_core.testing.meter_context import RecordingContext
    from tpb_meter_nvml import NvmlConfig, NvmlMeter

    with tempfile.TemporaryDirectory() as name:
        bundle = Path(name) / new_run_id()
        bundle.mkdir()
        options = {"name": "nvml", "interval_ms": 1000 / rate_hz, "journal": str(Path(name) / "journal")}
        sampler = ProcessSampler(bundle, {"run_id": bundle.name, "node": "n0", "machine_id": "bench", "environ": {}})
        started = sampler.start({"nvml": options})
        assert not started["unavailable"], started["unavailable"]
        time.sleep(1.0)
        before, begin = sampler.overhead(), time.monotonic()
        time.sleep(seconds)
        after, elapsed = sampler.overhead(), time.monotonic() - begin
        sampler.stop()
        figures = {"cpu_percent": 100 * (after["cpu_s"] - before["cpu_s"]) / elapsed, "per_s": (after["ticks"] - before["ticks"]) / elapsed}
        meter = NvmlMeter(NvmlConfig(journal=str(Path(name) / "journal"), characterise_s=0.0), RecordingContext())
        meter.discover()
        meter.open()
        figures["reading_us"] = median_us(lambda: list(meter.read()))
        meter.close()
    return figures


def run_zeus(rate_hz: int, seconds: float) -> dict[str, float]:
    """PowerMonitor with all domains that the GPUs offer."""
    import multiprocessing.synchronize

    from zeus.device import get_gpus
    from zeus.monitor.power import PowerMonitor

    wait = multiprocessing.synchronize.Event.wait
    # Its processes have 10 s to import what they need, which is too little on a machine that is busy.
    multiprocessing.synchronize.Event.wait = lambda event, timeout=None: wait(event, timeout and 10 * timeout)  # type: ignore[method-assign]
    monitor = PowerMonitor(update_period=1 / rate_hz)
    begin = time.time()

    def changes() -> float:
        timelines = monitor.get_all_power_timelines(start_time=begin)
        return max((len(points) for by_gpu in timelines.values() for points in by_gpu.values()), default=0)

    figures = share_of_core(seconds, changes)
    monitor.stop()
    gpus = get_gpus()
    indices = range(len(gpus))

    def read() -> None:
        for index in indices:
            gpus.get_instant_power_usage(index)
            gpus.get_average_power_usage(index)
            gpus.get_average_memory_power_usage(index)
            gpus.get_total_energy_consumption(index)

    figures["reading_us"] = median_us(read)
    return figures


def run_codecarbon(rate_hz: int, seconds: float) -> dict[str, float]:
    """OfflineEmissionsTracker at that interval, nothing sent and nothing saved."""
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.core.gpu import AllGPUDevices
    from codecarbon.core.units import Time

    tracker = OfflineEmissionsTracker(
        country_iso_code="DEU", measure_power_secs=1 / rate_hz, save_to_file=False, log_level="error", allow_multiple_runs=True
    )
    taken = 0
    measure = tracker._measure_power_and_energy

    def counted() -> None:
        nonlocal taken
        taken += 1
        measure()

    tracker._measure_power_and_energy = counted
    tracker._scheduler.function = counted
    tracker.start()
    figures = share_of_core(seconds, lambda: taken)
    tracker.stop()
    devices = AllGPUDevices()
    devices.start()
    figures["reading_us"] = median_us(lambda: devices.get_delta(Time.from_seconds(0.1)))
    return figures


RUN = {"tpb": run_tpb, "zeus": run_zeus, "codecarbon": run_codecarbon}


def measure(tool: str, python: str, gpus: int, rate_hz: int, seconds: float, latency_us: float) -> dict[str, float] | str:
    """One tool in a process of its own; what it printed last where it failed."""
    from tpb_core.testing.nvml_double import NvmlDouble, PowerTrace

    with tempfile.TemporaryDirectory() as name:
        double = NvmlDouble(Path(name), latency_us=latency_us)
        for _ in range(gpus):
            double.gpu("h100", PowerTrace.square(150, 450, low_s=0.37, high_s=0.21), noise_w=3.0)
        command = [python, __file__, "--as", tool, "--rate", str(rate_hz), "--seconds", str(seconds)]
        program = Path(name) / "nvidia-smi"  # CodeCarbon looks for GPUs only where there is a program of this name
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
        path = f"{name}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, **double.build(), "PYTHONWARNINGS": "ignore", "PATH": path}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=name)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if done.returncode == 0 and lines else (done.stderr.strip().splitlines() or ["nothing printed"])[-1]


def main() -> int:
    """All tools, rates and numbers of GPUs; ratios to tpb."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--others", default=None, help="interpreter with zeus and codecarbon")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--latency-us", type=float, default=0.0, help="time that the double spends in each call")
    parser.add_argument("--as", dest="tool", choices=TOOLS, default=None, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=int, default=10, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tool:
        print(json.dumps(RUN[options.tool](options.rate, options.seconds)), flush=True)
        return 0
    tools = TOOLS if options.others else TOOLS[:1]
    print(f"{'GPUs':>4} {'Hz':>4} {'tool':<11} {'cpu %':>7} {'reading us':>11} {'per s':>7} {'cpu / tpb':>10} {'reading / tpb':>14}")
    for gpus in GPUS:
        for rate_hz in RATES_HZ:
            base: dict[str, float] = {}
            for tool in tools:
                python = sys.executable if tool == "tpb" else options.others
                figures = measure(tool, python, gpus, rate_hz, options.seconds, options.latency_us)
                if isinstance(figures, str):
                    print(f"{gpus:>4} {rate_hz:>4} {tool:<11} failed: {figures}", flush=True)
                    continue
                base = base or figures
                ratios = [figures[key] / base[key] if base[key] else float("nan") for key in ("cpu_percent", "reading_us")]
                cells = f"{figures['cpu_percent']:>7.2f} {figures['reading_us']:>11.1f} {figures['per_s']:>7.1f}"
                print(f"{gpus:>4} {rate_hz:>4} {tool:<11} {cells} {ratios[0]:>10.2f} {ratios[1]:>14.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
