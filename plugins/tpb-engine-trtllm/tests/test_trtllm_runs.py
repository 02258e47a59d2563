"""Whole runs from the command line: the LLM API with the stand-in on the worker's path, and a trtllm-serve that tpb starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow
DOUBLE = Path(__file__).parent / "double"
CHAT = "engine.api=chat"  # the stand-in has no tokenizer to offer, so it renders the messages
COMMON = ("run.idle_s=0", "run.warmup_rounds=1", "out.dir=.", "sampling.max_output_tokens=8")
PROGRAM = f"engine.program={sys.executable} {DOUBLE / 'trtllm_serve.py'}"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The stand-in where the worker imports; another measurement on this machine is none of this test's business."""
    return {**os.environ, "PYTHONPATH": str(DOUBLE), "TMPDIR": str(tmp_path), "TRTLLM_SERVE_DOUBLE": json.dumps({"energy_w": 200.0})}


def tpb(folder: Path, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tpb_core.cli.main", *COMMON, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=folder, env=environ, check=False)


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    (file,) = folder.glob(f"2*/{name}.parquet")
    rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return rows


def manifest(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("2*/manifest.json")
    document: dict[str, Any] = json.loads(file.read_text())
    return document


def check(folder: Path, requests: int) -> None:
    """Requests timed by the engine, steps that add up and do not overlap."""
    rows = [row for row in table(folder, "requests") if row["role"] == "measured"]
    assert len(rows) == requests
    assert all((row["status"], row["output_tokens"], len(row["token_ns"])) == ("ok", 8, 8) for row in rows)
    # On a busy machine a server's record may fit two requests that ended at once: then neither gets its times.
    timed = [row for row in rows if row["engine_queued_ns"] is not None]
    assert timed
    for row in timed:
        assert row["submitted_ns"] <= row["engine_queued_ns"] <= row["engine_started_ns"] <= row["first_token_ns"]
    steps = table(folder, "steps")
    everything = table(folder, "requests")
    assert sum(step["emitted_tokens"] for step in steps) == sum(row["output_tokens"] for row in everything)
    assert sum(step["prefill_tokens"] for step in steps) == sum(row["input_tokens"] for row in everything)
    assert all(before["t1_ns"] <= after["t0_ns"] for before, after in pairwise(steps))
    assert manifest(folder)["step_log"]["available"] is True


def test_the_llm_api_with_the_overlap_scheduler(model: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    """Host stamps of iterations overlap; in the bundle they follow one another, and an event says so."""
    done = tpb(
        tmp_path, environ, "+engine=trtllm", "meter=null", f"engine.model={model}", "load=closed", "load.requests=8", "load.concurrency=3"
    )
    assert done.returncode == 0, done.stderr
    check(tmp_path, 8)
    codes = {event["code"] for event in table(tmp_path, "events")}
    assert "steps_serialised" in codes
    assert not codes & {"engine_error", "times_unknown", "tokens_differ", "prefix_reused", "options_differ"}
    engine = manifest(tmp_path)["engine"]
    assert (engine["prefix_cache"], engine["effective"]["overlap_scheduler"]) == (False, True)


def test_engine_options_are_axes_and_refusals_are_exit_codes(model: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    words = ("+engine=trtllm", "meter=null", f"engine.model={model}", "load=static", "load.requests=2", "load.batch_size=2")
    done = tpb(tmp_path, environ, "-m", *words, "engine.tensor_parallel=1,2")
    assert done.returncode == 0, done.stderr
    files = sorted(tmp_path.glob("2*/manifest.json"))
    assert {json.loads(file.read_text())["engine"]["effective"]["tensor_parallel"] for file in files} == {1, 2}
    refused = tpb(tmp_path / "..", environ, *words, "engine.llm_args={max_batchsize: 4}")
    assert refused.returncode == 2
    assert "max_batchsize" in refused.stderr
    assert "Traceback" not in refused.stderr
    drawn = tpb(tmp_path / "..", environ, *words, "sampling.temperature=0.7")
    assert drawn.returncode == 3
    assert "sampling.temperature" in drawn.stderr


def test_a_server_that_tpb_starts(model: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    words = ("+engine=trtllm_serve", PROGRAM, CHAT, f"engine.model={model}", "engine.overlap_scheduler=false", "meter=null")
    done = tpb(tmp_path, environ, *words, "load=closed", "load.requests=6", "load.concurrency=2")
    assert done.returncode == 0, done.stderr
    check(tmp_path, 6)
    engine = manifest(tmp_path)["engine"]
    assert (engine["version"], engine["prefix_cache"]) == ("trtllm 1.2.0", False)
    assert _servers(tmp_path) == []


def test_a_running_server_with_its_energy_counter(served: Any, model: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    with served.serving(model, energy_w=200.0) as url:
        meter = (CHAT, "+meter=[trtllm_energy]", f"meter.trtllm_energy.url={url}", "meter.trtllm_energy.interval_ms=50")
        done = tpb(
            tmp_path, environ, "+engine=trtllm_serve", f"engine.url={url}", *meter, "load=closed", "load.requests=30", "load.concurrency=2"
        )
        assert done.returncode == 0, done.stderr
    (channel,) = manifest(tmp_path)["channels"]
    assert (channel["domain"], channel["scope"], channel["kind"]) == ("n0/gpu0", "gpu", "energy_counter")
    samples = [row for row in table(tmp_path, "samples") if row["channel"] == channel["channel"]]
    first, last = samples[0], samples[-1]
    assert (last["value"] - first["value"]) / ((last["t_ns"] - first["t_ns"]) / 1e9) == pytest.approx(200.0, rel=0.05)
    assert {row["source_clock"] for row in samples} == {"monotonic"}


def test_killing_tpb_ends_the_server_that_it_started(model: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    environ["TRTLLM_DOUBLE"] = json.dumps({"step_s": 0.5})
    words = [*COMMON, "+engine=trtllm_serve", PROGRAM, CHAT, f"engine.model={model}", "meter=null", "load=closed", "load.concurrency=1"]
    command = [sys.executable, "-m", "tpb_core.cli.main", *words]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert next((found for _ in _for_s(60) if (found := _servers(tmp_path))), None)
            time.sleep(1.0)
        finally:
            process.send_signal(signal.SIGKILL)
    assert next((True for _ in _for_s(30) if not _servers(tmp_path)), False), "the server outlived tpb"


def test_killing_tpb_ends_the_ranks(model: Path, tmp_path: Path, environ: dict[str, str]) -> None:
    environ["TRTLLM_DOUBLE"] = json.dumps({"step_s": 0.5})
    words = [*COMMON, "+engine=trtllm", f"engine.model={model}", "engine.tensor_parallel=3", "meter=null", "load=closed"]
    command = [sys.executable, "-m", "tpb_core.cli.main", *words]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            ranks = next((found for _ in _for_s(60) if len(found := _running(tmp_path, b"time.sleep(600)")) == 2), None)
            assert ranks
            time.sleep(1.0)
        finally:
            process.send_signal(signal.SIGKILL)
    assert next((True for _ in _for_s(30) if not _running(tmp_path, b"time.sleep(600)")), False), "ranks outlived tpb"


def _for_s(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.1)


def _servers(folder: Path) -> list[int]:
    """Stand-ins of trtllm-serve whose working folder is ours."""
    return _running(folder, b"trtllm_serve.py")


def _running(folder: Path, mark: bytes) -> list[int]:
    """Python programs whose working folder is ours and whose first words hold a mark."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if (entry / "cwd").resolve() == folder.resolve() and any(mark in word for word in words[1:3]):
                    found.append(int(entry.name))
            except (OSError, IndexError):
                continue
    return found
