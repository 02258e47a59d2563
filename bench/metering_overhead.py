"""Run time that metering adds to a busy CPU workload, at 10, 100 and 1000 Hz: interleaved pairs with and without the sampler.

    python bench/metering_overhead.py [--pairs 8] [--seconds 3]

The workload is a fixed amount of arithmetic on every core at once, so that the sampler has to take its time from it. The sampler is
the real process writing a bundle's spool; it reads a powercap tree of two packages with DRAM and, where there is a C compiler, an NVML
double of one H100. Each pair is run in an order drawn by chance; `ratio` is the geometric mean of run time with over without, with its
95 % interval (Student's t over pairs), `cpu` the share of one core that the sampler used, `missed` the share of readings that it could
not take in time. On a machine with other work the interval is wide, and `cpu` over the number of cores is the better figure.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tpb_core.energy.intervals import coverage_factor
from tpb_core.run.sampler_client import ProcessSampler
from tpb_core.testing.nvml_double import NvmlDouble, PowerTrace
from tpb_core.testing.nvml_double.library import compiler
from tpb_core.testing.sysfs_tree import PowercapTree

RATES_HZ = (10, 100, 1000)


def work(rounds: int) -> int:
    """A fixed amount of arithmetic."""
    total = 0
    for number in range(rounds):
        total += number * number % 7
    return total


def rounds_for(seconds: float) -> int:
    """How much of it takes so long on one core."""
    begin = time.perf_counter()
    work(300_000)
    return int(300_000 * seconds / (time.perf_counter() - begin))


def timed(pool: Any, cores: int, rounds: int) -> float:
    """Seconds until all cores are done with it."""
    begin = time.perf_counter()
    pool.map(work, [rounds] * cores, chunksize=1)
    return time.perf_counter() - begin


@contextlib.contextmanager
def sampling(folder: Path, rate_hz: int, number: int) -> Iterator[dict[str, float]]:
    """The sampler at work within the block; afterwards the figures are in the dictionary."""
    bundle = folder / f"bundle-{rate_hz}-{number}"
    bundle.mkdir()
    meters: dict[str, dict[str, Any]] = {"rapl": {"name": "rapl", "root": str(folder / "powercap")}}
    if compiler() is not None:
        meters["nvml"] = {"name": "nvml", "journal": str(folder / "journal"), "characterise_s": 0.0}
    for options in meters.values():
        options["interval_ms"] = 1000 / rate_hz
    sampler = ProcessSampler(bundle, {"run_id": bundle.name, "node": "n0", "machine_id": "bench", "environ": {}})
    try:
        started = sampler.start(meters)
        assert not started["unavailable"], started["unavailable"]
        time.sleep(0.3)
        figures: dict[str, float] = {}
        before, begin = sampler.overhead(), time.monotonic()
        yield figures
        after, elapsed = sampler.overhead(), time.monotonic() - begin
        missed, taken = (after[key] - before[key] for key in ("ticks_missed", "ticks"))
        figures.update(cpu_percent=100 * (after["cpu_s"] - before["cpu_s"]) / elapsed, missed_percent=100 * missed / max(missed + taken, 1))
    finally:
        sampler.stop()


def main() -> int:
    """A line for each rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run of the workload")
    options = parser.parse_args()
    cores, rng = len(os.sched_getaffinity(0)), random.Random(0)
    print(f"{'Hz':>5} {'ratio':>8} {'95 % interval':>18} {'cpu %':>7} {'missed %':>9}   ({cores} cores, {options.pairs} pairs)")
    with tempfile.TemporaryDirectory() as name, multiprocessing.Pool(cores) as pool:
        folder = Path(name)
        tree = PowercapTree(folder / "powercap")
        for package in range(2):
            tree.zone(f"intel-rapl:{package}", f"package-{package}", 90.0)
            tree.zone(f"intel-rapl:{package}:0", "dram", 10.0)
        if compiler() is not None:
            (folder / "gpu").mkdir()
            os.environ.update(NvmlDouble(folder / "gpu").gpu("h100", PowerTrace.square(150, 450, low_s=0.37, high_s=0.21)).build())
        rounds = rounds_for(options.seconds)
        for rate_hz in RATES_HZ:
            ratios, costs = [], []
            for number in range(options.pairs):
                seconds = {}
                for metered in rng.sample((False, True), 2):
                    if metered:
                        with sampling(folder, rate_hz, number) as figures:
                            seconds[metered] = timed(pool, cores, rounds)
                        costs.append(figures)
                    else:
                        seconds[metered] = timed(pool, cores, rounds)
                ratios.append(math.log(seconds[True] / seconds[False]))
            mean = statistics.fmean(ratios)
            half = coverage_factor(len(ratios) - 1) * statistics.stdev(ratios) / math.sqrt(len(ratios))
            low, high = math.exp(mean - half), math.exp(mean + half)
            cpu, missed = (statistics.fmean(cost[key] for cost in costs) for key in ("cpu_percent", "missed_percent"))
            print(f"{rate_hz:>5} {math.exp(mean):>8.4f} {f'{low:.4f} to {high:.4f}':>18} {cpu:>7.2f} {missed:>9.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
