"""Runs that are killed: nothing that reached the disk is lost, nothing of ours is left, and exit codes say what happened.

Real processes: `tpb` with the acme engine (which sleeps) and its meter, killed from outside as a user or the system would.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from tpb_core.store.bundle import Bundle
from tpb_core.store.finish import finish_bundle
from tpb_core.store.live import is_live

Start = Callable[..., Any]
METER = "meter=acme"


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


def test_the_worker_killed_while_measuring(start: Start) -> None:
    run = start(METER)
    run.until_window("measure")
    children = run.children()
    children["worker"].kill()
    assert run.ended() == 1
    assert run.gone(children)
    assert run.manifest()["status"] == "partial"
    assert "killed by signal 9" in run.log.read_text()
    assert_kept(run.bundle())
    assert "engine_lost" in codes(run.bundle())


def test_the_sampler_killed_while_measuring(start: Start) -> None:
    run = start(METER)
    run.until_window("measure")
    children = run.children()
    children["sampler_process"].kill()
    assert run.ended() == 1
    assert run.gone(children)
    assert run.manifest()["status"] == "partial"
    assert_kept(run.bundle())
    assert "sampler_lost" in codes(run.bundle())


def test_tpb_itself_killed_while_measuring_is_finished_by_its_guardian(start: Start) -> None:
    run = start(METER)
    run.until_window("measure")
    children = run.children()
    assert set(children) == {"worker", "sampler_process"}
    run.process.kill()
    assert run.ended() == -signal.SIGKILL
    assert run.gone(children), "the guardian ends the engine and itself"
    assert not is_live(run.bundle())
    manifest = run.manifest()
    assert (manifest["status"], manifest["status_reason"]) == ("partial", "session_lost")
    assert_kept(run.bundle())
    assert "session_lost" in codes(run.bundle())


def test_everything_killed_at_once_leaves_a_bundle_that_can_be_finished_later(start: Start) -> None:
    run = start(METER)
    run.until_window("measure")
    children = run.children()
    children["sampler_process"].kill()
    run.process.kill()
    assert run.gone(children), "the worker dies with its session"
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
def test_ctrl_c_in_every_window(start: Start, window: str, words: list[str]) -> None:
    run = start(METER, *words)
    run.until_window(window)
    children = run.children()
    run.process.send_signal(signal.SIGINT)
    assert run.ended(15) == 130
    assert run.gone(children)
    assert run.manifest()["status"] == "partial"
    assert "interrupted" in codes(run.bundle())
    Bundle.open(run.bundle())


def test_a_full_disk_ends_the_run_and_keeps_what_was_written(start: Start) -> None:
    most_bytes = 40_000

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    run = start(
        METER,
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
    assert run.gone(children)
    said = run.log.read_text()
    assert "Traceback" not in said
    assert "out.dir" in said
    if (run.bundle() / "spool").exists():  # no room for the Parquet files either: they are made when there is
        assert run.manifest()["status"] == "running"
        finish_bundle(run.bundle(), status="partial", status_reason="disk_full")
    assert run.manifest()["status"] == "partial"
    assert len(rows(run.bundle(), "steps")) > 20


def test_a_folder_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path, start: Start) -> None:
    (tmp_path / "file").write_text("")
    run = start(METER, "out.dir=file/runs")
    assert run.ended() == 2
    assert "out.dir=file/runs" in run.log.read_text()
