"""Whole runs from the command line against the stand-in: failures as rows, refusals in time, nothing left when tpb is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
import pytest

from tpb_core.testing.openai_double import OpenAiDouble

Start = Callable[..., OpenAiDouble]
pytestmark = pytest.mark.slow
COMMON = ("+engine=openai", "meter=null", "run.idle_s=0", "run.warmup_rounds=0", "out.dir=.")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Another measurement on this machine is none of this test's business."""
    return {**os.environ, "TMPDIR": str(tmp_path)}


def tpb(folder: Path, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tpb_core.cli.main", *COMMON, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=folder, env=environ, check=False)


def requests_of(folder: Path) -> list[dict[str, Any]]:
    (table,) = folder.glob("2*/requests.parquet")
    rows: list[dict[str, Any]] = pq.read_table(table).to_pylist()
    return rows


def test_requests_are_sent_as_scheduled_and_their_tokens_stamped(new_double: Start, tmp_path: Path, environ: dict[str, str]) -> None:
    double = new_double(token_s=0.01)
    done = tpb(
        tmp_path, environ, f"engine.url={double.url}", "load=constant", "load.rate=20", "load.requests=20", "sampling.max_output_tokens=5"
    )
    assert done.returncode == 0, done.stderr
    rows = requests_of(tmp_path)
    assert len(rows) == 20
    for row in rows:
        assert (row["status"], row["output_tokens"], len(row["token_ns"]), row["cached_tokens"]) == ("ok", 5, 5, 0)
        assert row["due_ns"] <= row["submitted_ns"] <= row["first_token_ns"] == row["token_ns"][0] <= row["finished_ns"]
        assert row["engine_queued_ns"] <= row["engine_started_ns"] <= row["first_token_ns"]
    spans_s = [(row["token_ns"][-1] - row["token_ns"][0]) / 1e9 for row in rows]
    assert 0.03 < median(spans_s) < 0.1  # four gaps of 10 ms, on a busy machine
    arrivals = [t_s for t_s, _ in double.counters.received]
    assert arrivals[-1] - arrivals[0] == pytest.approx(19 / 20, abs=0.3)


def test_failures_are_rows_and_the_run_goes_on(new_double: Start, tmp_path: Path, environ: dict[str, str]) -> None:
    done = tpb(
        tmp_path, environ, f"engine.url={new_double().url}", "engine.extra_body={double: {status: 429}}", "load=closed",
        "load.requests=3", "load.concurrency=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [(row["status"], row["error"]) for row in requests_of(tmp_path)] == [("rejected", "HTTP 429: as you asked")] * 3


def test_what_the_found_server_cannot_do_is_refused_before_anything_is_measured(
    new_double: Start, tmp_path: Path, environ: dict[str, str]
) -> None:
    url = new_double(owner="someone").url
    done = tpb(tmp_path, environ, f"engine.url={url}", "load=closed")
    assert done.returncode == 3
    assert "exact_output_length" in done.stderr
    assert not list(tmp_path.glob("2*"))


def test_killing_tpb_ends_the_server_that_it_started(tmp_path: Path, environ: dict[str, str]) -> None:
    command = f"{sys.executable} -m tpb_core.testing.openai_double --port {{port}} --token-s 1"
    words = [*COMMON, f"engine.command={command}", "load=closed", "load.concurrency=1", "load.requests=50"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tpb_core.cli.main", *words], cwd=tmp_path, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        servers = _wait_for(lambda: _running(tmp_path), 60)
        assert len(servers) == 1
        time.sleep(1.0)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    gone = _wait_for(lambda: [1] if not _running(tmp_path) else [], 30)
    assert gone, "the server outlived tpb"


def _running(folder: Path) -> list[int]:
    """Stand-ins whose working folder is ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                ours = (entry / "cwd").resolve() == folder.resolve()
                if ours and (entry / "cmdline").read_bytes().split(b"\0")[1:3] == [b"-m", b"tpb_core.testing.openai_double"]:
                    found.append(int(entry.name))
            except (OSError, IndexError):
                continue
    return found


def _wait_for(look: Callable[[], list[int]], seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
