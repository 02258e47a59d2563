"""Ctrl-C in a study, a worker that is kept between runs, and a machine that somebody else measures on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.usefixtures("acme"), pytest.mark.slow]

ACME = ["engine=acme", "meter=acme", "prompts=acme", "attributor=[acme]", "run.idle_s=0", "run.warmup_rounds=0", "run.order=sequential"]
TPB = [sys.executable, "-m", "tpb_core.cli.main"]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.Popen([*TPB, *ACME, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def manifests(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("runs/*/manifest.json"))]


def wait_for(folder: Path, count: int, status: str) -> None:
    give_up_s = time.monotonic() + 60
    while sum(m["status"] == status for m in manifests(folder)) < count:
        assert time.monotonic() < give_up_s, [m["status"] for m in manifests(folder)]
        time.sleep(0.1)


def test_a_stopped_sweep_exits_with_130_and_goes_on(tmp_path: Path) -> None:
    sweep = ["-m", "load.batch_size=1,2,3", "load.requests=6", "sampling.max_output_tokens=100"]
    study = start(tmp_path, *sweep)
    wait_for(tmp_path, 1, "complete")
    wait_for(tmp_path, 1, "running")
    time.sleep(1.5)
    study.send_signal(signal.SIGINT)
    _, errors = study.communicate(timeout=60)
    assert study.returncode == 130, errors
    assert "Traceback" not in errors
    assert [m["status"] for m in manifests(tmp_path)] == ["complete", "partial"]
    again = start(tmp_path, *sweep)
    _, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert "1 of 3 are finished already" in errors
    done = [m["load"]["parameters"]["batch_size"] for m in manifests(tmp_path) if m["status"] == "complete"]
    assert sorted(done) == [1, 2, 3]


def test_a_kept_engine_is_loaded_once(tmp_path: Path) -> None:
    words = ["-m", "load.batch_size=1,2", "run.repeats=2", "load.requests=2", "sampling.max_output_tokens=4", "run.isolation=engine"]
    study = start(tmp_path, *words)
    _, errors = study.communicate(timeout=120)
    assert study.returncode == 0, errors
    query = "select count(distinct run_id) filter (\"window\" = 'load') as loads, count(distinct run_id) as runs from windows"
    asked = subprocess.run([*TPB, "sql", query, "--format", "csv"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["loads,runs", "1,4"]


def test_waiting_for_the_machine_can_be_interrupted(tmp_path: Path) -> None:
    first = start(tmp_path, "load.requests=1000")
    wait_for(tmp_path, 1, "running")
    second = start(tmp_path, "load.requests=2")
    assert second.stderr is not None
    assert f"process {first.pid}" in second.stderr.readline()
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=30)
    assert second.returncode == 130
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=60)
    assert first.returncode == 130
    assert len(manifests(tmp_path)) == 1
