"""What the sampler costs: CPU share and lateness at 10, 100 and 1000 Hz on a RAPL tree of two packages with DRAM.

    python bench/sampler_cost.py [--seconds 20]

The real sampler process reads a powercap tree in a temporary folder whose counters a second process moves. Prints, for each rate, the
share of one core that the sampler's process used (user and system, by the kernel's account), samples, missed ticks and lateness.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tpb_core.run.sampler_client import ProcessSampler
from tpb_core.store.manifest import new_run_id

RATES_HZ = (10, 100, 1000)


def measure(tree: Path, rate_hz: int, seconds: float) -> dict[str, float]:
    """Sample for a while; start-up is not counted."""
    with tempfile.TemporaryDirectory() as name:
        bundle = Path(name) / new_run_id()
        bundle.mkdir()
        context = {"run_id": bundle.name, "node": "n0", "machine_id": "bench", "environ": {}}
        sampler = ProcessSampler(bundle, context)
        started = sampler.start({"rapl": {"name": "rapl", "root": str(tree), "interval_ms": 1000 / rate_hz}})
        assert not started["unavailable"], started["unavailable"]
        time.sleep(1)
        before, begin = sampler.overhead(), time.monotonic()
        time.sleep(seconds)
        after, end = sampler.overhead(), time.monotonic()
        sampler.stop()
    meter = after["meters"]["rapl"]
    return {
        "rate_hz": rate_hz,
        "cpu_share_percent": 100 * (after["cpu_s"] - before["cpu_s"]) / (end - begin),
        "ticks_per_s": (after["ticks"] - before["ticks"]) / (end - begin),
        "missed": after["ticks_missed"] - before["ticks_missed"],
        "reading_cost_us": meter["reading_cost_us"],
        "late_p50_ms": meter["late_p50_ms"],
        "late_p99_ms": meter["late_p99_ms"],
        "late_max_ms": meter["late_max_ms"],
    }


def main() -> int:
    """All rates, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "powercap"
        mover = subprocess.Popen([sys.executable, "-m", "tpb_core.testing.sysfs_tree", str(tree), "--power", "40"])
        try:
            while not list(tree.glob("**/energy_uj")):
                time.sleep(0.1)
            for rate_hz in RATES_HZ:
                print(json.dumps({key: round(value, 4) for key, value in measure(tree, rate_hz, seconds).items()}), flush=True)
        finally:
            mover.terminate()
            mover.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
