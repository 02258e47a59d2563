"""Tokens/s through tpb against the same low-level llama.cpp loop without tpb, side by side in one run.

    python bench/tokens_per_second.py [--pairs 15]

Each pair measures both, in an order that alternates, each in processes of its own, with the same prompts, batch, threads and tokens.
tpb runs as users run it: session, sampler at 10 Hz with the estimate meter, engine worker. Both clocks start at the first prefill of
the first batch and stop at the last token, after one batch of warm-up. Prints the ratio of the tokens/s, pair by pair, and the lower
end of the 95 % t-interval of its mean.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

BATCH, BATCHES, TOKENS, PROMPT_TOKENS = 4, 4, 64, 128
_MINIMAL = """
import json, sys, time
sys.path.insert(0, {bench!r})
from llamacpp_minimal import MinimalLoop
from tpb_engine_llamacpp.model_file import packaged_model
job = json.load(open({job!r}))
loop = MinimalLoop(packaged_model(), batch=job["batch"], threads=job["threads"], context_tokens=job["context_tokens"])
batches = [job["prompts"][i : i + job["batch"]] for i in range(0, len(job["prompts"]), job["batch"])]
loop.generate(batches[0], job["tokens"])
begin = time.monotonic()
for batch in batches:
    loop.generate(batch, job["tokens"])
print(len(job["prompts"]) * job["tokens"] / (time.monotonic() - begin))
"""


def through_tpb(folder: Path, threads: int) -> float:
    """Output tokens/s of the window `measure` of a whole `tpb` run."""
    words = [
        "+engine=llamacpp", "+meter=estimate", "load=static", f"load.batch_size={BATCH}", f"load.requests={BATCH * BATCHES}",
        "prompts=synthetic", f"prompts.input_tokens={PROMPT_TOKENS}", f"sampling.max_output_tokens={TOKENS}", "run.idle_s=0",
        "run.warmup_rounds=1", f"engine.threads={threads}", f"out.dir={folder}",
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "tpb_core.cli.main", *words], check=True, capture_output=True)
    from tpb_core.store.results import results_of

    bundle = max(folder.glob("2*"))
    row = next(row for row in results_of(bundle) if row["window"] == "measure" and row["scope"] == "total")
    return float(row["output_tokens_per_s"])


def without_tpb(folder: Path, threads: int) -> float:
    """Output tokens/s of the minimal loop on prompts of the same lengths."""
    job = {
        "batch": BATCH,
        "threads": threads,
        "tokens": TOKENS,
        "context_tokens": BATCH * (PROMPT_TOKENS + TOKENS + 64),
        "prompts": [[(7 * r + 13 * t) % 40000 + 100 for t in range(PROMPT_TOKENS)] for r in range(BATCH * BATCHES)],
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    code = _MINIMAL.format(bench=str(Path(__file__).parent), job=str(path))
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> int:
    """Run the pairs and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    pairs = parser.parse_args().pairs
    threads = os.cpu_count() or 1
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        for pair in range(pairs):
            first, second = (through_tpb, without_tpb) if pair % 2 else (without_tpb, through_tpb)
            rates = {run: run(Path(name), threads) for run in (first, second)}
            ratios.append(rates[through_tpb] / rates[without_tpb])
            print(
                f"pair {pair + 1:2}: tpb {rates[through_tpb]:7.1f}  minimal {rates[without_tpb]:7.1f} tokens/s  ratio {ratios[-1]:.3f}",
                flush=True,
            )
    from scipy import stats

    half = stats.t.ppf(0.975, pairs - 1) * stdev(ratios) / math.sqrt(pairs)
    print(f"mean ratio {mean(ratios):.3f}, 95 % interval {mean(ratios) - half:.3f} to {mean(ratios) + half:.3f} over {pairs} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
