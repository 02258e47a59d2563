"""Time and memory of attribution: 1,000,000 samples and 100,000 steps with 64 members each (and 10,000 requests).

python bench/attribution.py                   totals and windowed: under 3 s and 600 MB
python bench/attribution.py --scale 10        how both grow
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from tpb_core.api import Channel, StepMembers, Window
from tpb_core.testing.memory_run import MemoryRun, series_of

STEPS, MEMBERS, SAMPLES, REQUESTS = 100_000, 64, 1_000_000, 10_000
STEP_S = 0.1
BATCH_STEPS = 640


def synthetic_run(steps: int, samples: int, *, mixed: bool) -> MemoryRun:
    """Static batches of 64: one prefill step, then decode steps (with `mixed`, every tenth decode step also computes a prompt)."""
    rng = np.random.default_rng(0)
    first = 1000.0
    length = STEP_S * rng.uniform(0.8, 1.2, steps)
    t1 = first + 5 + np.cumsum(length)
    t0 = t1 - length * 0.98
    place = np.arange(steps) % BATCH_STEPS
    prefill = np.where(place == 0, 64 * 128, 0)
    decode = np.where(place == 0, 0, 64)
    if mixed:
        joins = (place % 10 == 5) & (rng.random(steps) < 0.5)
        prefill = np.where(joins, rng.integers(32, 512, steps), prefill)
        decode = np.where(place == 0, 0, rng.integers(8, 65, steps))
    watts = np.where(prefill > 0, 600.0, 350.0) + rng.normal(0, 10, steps) + 0.2 * np.where(mixed, decode, 0)
    end = float(t1[-1])
    edges = np.concatenate([[first], t0, [end, end + 5]])
    energy = np.concatenate([[0.0], np.cumsum(np.diff(edges) * np.concatenate([[90.0], watts, [90.0]]))])
    read = np.linspace(first - 0.1, end + 5.1, samples)
    request = (np.arange(steps)[:, None] // BATCH_STEPS * MEMBERS + np.arange(MEMBERS)).astype(np.int32) % REQUESTS
    zero = np.zeros((steps, MEMBERS), np.int32)
    member_prefill = np.where(place[:, None] == 0, 128, zero)
    if mixed:
        member_prefill[:, 0] = np.where(place == 0, 128, prefill)
    member_decode = np.where(np.arange(MEMBERS)[None, :] < decode[:, None], 1, 0)
    kv = 128 + place
    members = StepMembers(
        offsets=np.arange(steps + 1, dtype=np.int64) * MEMBERS,
        known=np.ones(steps, np.bool_),
        request=request.ravel(),
        prefill_tokens=member_prefill.astype(np.int32).ravel(),
        decode_tokens=member_decode.astype(np.int32).ravel(),
        emitted_tokens=np.ones(steps * MEMBERS, np.int32),
        kv_tokens=np.repeat(kv, MEMBERS).astype(np.int32),
    )
    channel = Channel(
        "n0/gpu0/energy", "n0/gpu0", "gpu", "energy_counter", "J", "measured",
        parent="n0", device="GPU-0", sensor="GPU-0", update_ms=10.0, delay_ms=0.0, wrap=0.0, gain_u_rel=0.037, offset_u_w=5.9,
    )  # fmt: skip
    ns = lambda t: np.round(np.asarray(t) * 1e9).astype(np.int64)  # noqa: E731
    batch = np.arange(REQUESTS) // MEMBERS * BATCH_STEPS
    begin, stop = np.minimum(batch, steps - 1), np.minimum(batch + BATCH_STEPS, steps) - 1
    table = {
        "step": np.arange(steps), "t0_ns": ns(t0), "t1_ns": ns(t1), "prefill_tokens": prefill.astype(np.int32),
        "decode_tokens": decode.astype(np.int32), "kv_tokens": (kv * decode).astype(np.int64),
        "prefill_kv_tokens": np.zeros(steps, np.int64),
    }  # fmt: skip
    requests = {
        "request": np.arange(REQUESTS), "status": np.full(REQUESTS, "ok"), "submitted_ns": ns(t0[begin]), "finished_ns": ns(t1[stop]),
        "due_ns": ns(t0[begin]), "input_tokens": np.full(REQUESTS, 128), "output_tokens": np.full(REQUESTS, BATCH_STEPS),
    }  # fmt: skip
    windows = [
        Window("idle_loaded_before", int(ns(first)), int(ns(first + 5))),
        Window("measure", int(ns(first + 5)), int(ns(end))),
        Window("idle_loaded_after", int(ns(end)), int(ns(end + 5))),
    ]
    series = series_of(read, np.interp(np.floor(read / 0.01) * 0.01, edges, energy))
    return MemoryRun("bench", {}, [channel], windows, {channel.channel: series}, {"steps": table, "requests": requests}, members)


def measure(names: list[str], scale: float) -> dict[str, float]:
    """Seconds of each attributor, and what the process grew by over the run in memory, MB."""
    from tpb_core import drivers

    run = synthetic_run(int(STEPS * scale), int(SAMPLES * scale), mixed="steps" in names)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result: dict[str, float] = {}
    for name in names:
        attributor_class = drivers.load("tpb.attributors", name)
        start, cpu = time.perf_counter(), time.process_time()
        attributor_class(attributor_class.config_class(name=name)).attribute([run])
        result[f"{name}_s"] = time.perf_counter() - start
        result[f"{name}_cpu_s"] = time.process_time() - cpu
    result["together_s"] = sum(result[f"{name}_s"] for name in names)
    result["together_cpu_s"] = sum(result[f"{name}_cpu_s"] for name in names)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**result, "run_mb": before, "peak_mb": peak}


def main() -> None:
    """Each measurement in a process of its own, so that peaks of memory do not mix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--with", dest="names", default="totals,windowed")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", action="store_true")
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.names.split(","), arguments.scale)))
        return
    rows = []
    for _ in range(arguments.repeats):
        command = [sys.executable, __file__, "--child", "--with", arguments.names, "--scale", str(arguments.scale)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    for key in rows[0]:
        print(f"{key:>14}  " + "  ".join(f"{row[key]:9.2f}" for row in rows))


if __name__ == "__main__":
    main()
