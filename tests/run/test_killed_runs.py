"""Runs that are killed: nothing that reached the disk is lost, nothing of ours is left, and exit codes say what happened.

Real processes: `tpb` with the acme engine (which sleeps) and its meter, killed from outside as a user or the system would.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from tpb_core.store.bundle import Bundle
from tpb_core.store.finish import finish_bundle
from tpb_core.store.live import is_live

WORDS = ["engine=acme", "meter=acme", "prompts=acme", "attributor=[acme]", "load.requests=400", "load.batch_size=2"]
WORDS += ["sampling.max_output_tokens=20", "engine.token_ms=5", "run.warmup_rounds=0", "run.idle_s=0", "--no-wait"]


class Tpb:
    """A `tpb` under way in a folder of its own."""

    def __init__(self, folder: Path, *words: str, limit: Callable[[], None] | None = None) -> None:
        self.folder = folder
        self.log = folder / "tpb.log"
        environ = {**os.environ, "TMPDIR": str(folder)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tpb_core.cli.main", *WORDS, *words],
                cwd=folder,
                env=environ,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=limit,
            )

    def bundle(self) -> Path:
        return next((self.folder / "runs").glob("2*"))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        give_up_s = time.monotonic() + 30
        while not condition():
            if self.process.poll() is not None or time.monotonic() > give_up_s:
                raise AssertionError(f"{what} did not come; tpb said:\n{self.log.read_text()}")
            time.sleep(0.02)

    def until_window(self, window: str) -> None:
        """The window is open and half a second old, so that its rows are on disk."""
        self.until(lambda: window in self.windows(), f"window {window}")
        time.sleep(0.7)

    def windows(self) -> set[str]:
        text = self.log.read_text()
        shown = {
            "looking for meters": "meters",
            "warming up": "warmup",
            "measuring": "measure",
            "idle, without": "idle_bare",
            "idle, model": "idle",
        }
        return {window for line, window in shown.items() if line in text}

    def children(self) -> dict[str, psutil.Process]:
        """Sampler and worker by the last part of their module."""
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            for word in child.cmdline():
                if word.startswith("tpb_core.run."):
                    found[word.removeprefix("tpb_core.run.")] = child
        return found

    def ended(self, timeout_s: float = 30) -> int:
        return self.process.wait(timeout=timeout_s)

    def manifest(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.bundle() / "manifest.json").read_text())
        return document


@pytest.fixture
def start(tmp_path: Path, acme: None) -> Iterator[Callable[..., Tpb]]:
    started: list[Tpb] = []

    def begin(*words: str, **more: Any) -> Tpb:
        started.append(Tpb(tmp_path, *words, **more))
        return started[-1]

    yield begin
    for run in started:
        if run.process.poll() is None:
            run.process.kill()


def gone(processes: dict[str, psutil.Process], within_s: float = 15) -> bool:
    _, alive = psutil.wait_procs(list(processes.values()), timeout=within_s)
    return not alive


def rows(bundle: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(bundle / f"{table}.parquet").to_pylist()
    return found


def assert_kept(bundle: Path) -> None:
    """Samples, steps and finished requests are there, the bundle opens, and what was under way says so."""
    Bundle.open(bundle)
    assert len(rows(bundle, "samples")) > 10
    assert len(rows(bundle, "steps")) > 20
    statuses = [row["status"] for row in rows(bundle, "requests")]
    assert statuses.count("ok") >= 2
    assert set(statuses) <= {"ok", "unfinished"}
    measure = next(row for row in rows(bundle, "windows") if row["window"] == "measure")
    assert measure["t1_ns"] is None, "a window that was cut off has no end"


def codes(bundle: Path) -> set[str]:
    return {row["code"] for row in rows(bundle, "events")}


def test_the_worker_killed_while_measuring(start: Callable[..., Tpb]) -> None:
    run = start()
    run.until_window("measure")
    children = run.children()
    children["worker"].kill()
    assert run.ended() == 1
    assert gone(children)
    assert run.manifest()["status"] == "partial"
    assert "killed by signal 9" in run.log.read_text()
    assert_kept(run.bundle())
    assert "engine_lost" in codes(run.bundle())


def test_the_sampler_killed_while_measuring(start: Callable[..., Tpb]) -> None:
    run = start()
    run.until_window("measure")
    children = run.children()
    children["sampler_process"].kill()
    assert run.ended() == 1
    assert gone(children)
    assert run.manifest()["status"] == "partial"
    assert_kept(run.bundle())
    assert "sampler_lost" in codes(run.bundle())


def test_tpb_itself_killed_while_measuring_is_finished_by_its_guardian(start: Callable[..., Tpb]) -> None:
    run = start()
    run.until_window("measure")
    children = run.children()
    assert set(children) == {"worker", "sampler_process"}
    run.process.kill()
    assert run.ended() == -signal.SIGKILL
    assert gone(children), "the guardian ends the engine and itself"
    assert not is_live(run.bundle())
    manifest = run.manifest()
    assert (manifest["status"], manifest["status_reason"]) == ("partial", "session_lost")
    assert_kept(run.bundle())
    assert "session_lost" in codes(run.bundle())


def test_everything_killed_at_once_leaves_a_bundle_that_can_be_finished_later(start: Callable[..., Tpb]) -> None:
    run = start()
    run.until_window("measure")
    children = run.children()
    children["sampler_process"].kill()
    run.process.kill()
    assert gone(children), "the worker dies with its session"
    assert run.manifest()["status"] == "running"
    finish_bundle(run.bundle(), status="partial", status_reason="session_lost")
    assert_kept(run.bundle())


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ("idle_bare", ["run.idle_bare_s=20"]),
        ("warmup", ["run.warmup_rounds=3", "sampling.max_output_tokens=2000"]),
        ("idle", ["run.idle_s=20"]),
        ("measure", []),
    ],
)
def test_ctrl_c_in_every_window(start: Callable[..., Tpb], window: str, words: list[str]) -> None:
    run = start(*words)
    run.until_window(window)
    children = run.children()
    run.process.send_signal(signal.SIGINT)
    assert run.ended(15) == 130
    assert gone(children)
    assert run.manifest()["status"] == "partial"
    assert "interrupted" in codes(run.bundle())
    Bundle.open(run.bundle())


def test_a_full_disk_ends_the_run_and_keeps_what_was_written(start: Callable[..., Tpb]) -> None:
    most_bytes = 40_000

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    run = start(
        "meter.acme.interval_ms=1",
        "sampling.max_output_tokens=400",
        "engine.token_ms=1",
        "load.batch_size=32",
        "load.requests=3200",
        limit=limit,
    )
    children: dict[str, psutil.Process] = {}
    run.until(lambda: bool(children.update(run.children())) or len(children) == 2, "sampler and worker")
    assert run.ended(60) == 1
    assert gone(children)
    said = run.log.read_text()
    assert "Traceback" not in said
    assert "out.dir" in said
    if (run.bundle() / "spool").exists():  # no room for the Parquet files either: they are made when there is
        assert run.manifest()["status"] == "running"
        finish_bundle(run.bundle(), status="partial", status_reason="disk_full")
    assert run.manifest()["status"] == "partial"
    assert len(rows(run.bundle(), "steps")) > 20


def test_a_folder_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path, start: Callable[..., Tpb]) -> None:
    (tmp_path / "file").write_text("")
    run = start("out.dir=file/runs")
    assert run.ended() == 2
    assert "out.dir=file/runs" in run.log.read_text()
