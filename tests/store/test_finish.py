"""Finishing a bundle: nothing that reached the disk is lost, and doing it twice is doing it once."""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpb_core.api.errors import BadBundle
from tpb_core.store.finish import finish_bundle
from tpb_core.store.manifest import read_manifest, write_manifest
from tpb_core.store.spool import StreamWriter, spool_files


def _request(number: int, status: str | None, finished_ns: int | None = None) -> tuple[Any, ...]:
    blank = (None,) * 3
    return (number, f"r{number}", *blank, "measured", *blank, None, None, finished_ns, 5, 0, 2, 1, 0, status, None, None, None)


def _spooled(bundle: Path, samples: int = 40, close: bool = True) -> Path:
    """A bundle with `samples` samples in batches of ten, two requests of which one never ended, and two windows of which one is open."""
    write_manifest(bundle, {"run_id": "r", "status": "running", "channels": []})
    writers = {table: StreamWriter(bundle, table, "p", flush_interval_s=1e9) for table in ("samples", "requests", "windows", "events")}
    for number in range(samples):
        writers["samples"].append(("c", number, 1, None, None, float(number)))
        if number % 10 == 9:
            writers["samples"].flush()
    for row in (_request(0, None), _request(1, "running"), _request(0, "ok", 90)):
        writers["requests"].append(row)
        writers["requests"].flush()
    for window in (("measure", 0, None, None), ("measure", 0, 99, None), ("drain", 99, None, None)):
        writers["windows"].append(window)
    writers["events"].append((0, "session", "n0", None, None, "info", "run_started", "began"))
    for writer in writers.values():
        if close:
            writer.close()
        else:
            writer.flush()
    return bundle


def _rows(bundle: Path, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(bundle / f"{table}.parquet").to_pylist()
    return rows


def test_last_row_of_a_key_wins_and_what_never_ended_is_unfinished(tmp_path: Path) -> None:
    finish_bundle(_spooled(tmp_path), status="complete", status_reason=None)
    assert {row["request"]: (row["status"], row["finished_ns"]) for row in _rows(tmp_path, "requests")} == {
        0: ("ok", 90),
        1: ("unfinished", None),
    }
    assert {row["window"]: row["t1_ns"] for row in _rows(tmp_path, "windows")} == {"measure": 99, "drain": None}
    assert [row["value"] for row in _rows(tmp_path, "samples")] == [float(number) for number in range(40)]
    manifest = read_manifest(tmp_path)
    assert (manifest["status"], manifest["status_reason"]) == ("complete", None)
    assert manifest["finished_utc"].endswith("Z")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "events.parquet",
        "manifest.json",
        "requests.parquet",
        "samples.parquet",
        "windows.parquet",
    ]


def test_a_stream_without_its_end_mark_makes_the_run_partial(tmp_path: Path) -> None:
    finish_bundle(_spooled(tmp_path, close=False), status="complete", status_reason=None)
    assert read_manifest(tmp_path)["status"] == "partial"
    assert len(_rows(tmp_path, "samples")) == 40
    truncated = [row["message"] for row in _rows(tmp_path, "events") if row["code"] == "stream_truncated"]
    assert len(truncated) == 4
    assert any("40 rows" in message for message in truncated)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_stream_cut_anywhere_keeps_its_whole_batches(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    bundle = _spooled(tmp_path_factory.mktemp("run"))
    (path,) = spool_files(bundle)["samples"]
    content = path.read_bytes()
    keep = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:keep])
    finish_bundle(bundle, status="complete", status_reason=None)
    values = [row["value"] for row in _rows(bundle, "samples")]
    assert len(values) % 10 == 0
    assert values == [float(number) for number in range(len(values))]
    # A batch of ten samples takes far less than a fifth of the stream; whatever lies before the cut but for one batch is kept.
    assert len(values) >= (keep / len(content)) * 40 - 20
    assert (read_manifest(bundle)["status"] == "complete") == (keep == len(content))


def test_finishing_again_and_after_a_crash_in_the_middle_ends_in_the_same_files(tmp_path: Path) -> None:
    bundle = _spooled(tmp_path / "a" if (tmp_path / "a").mkdir() is None else tmp_path)
    spare = tmp_path / "spare"
    shutil.copytree(bundle / "spool", spare)
    finish_bundle(bundle, status="complete", status_reason=None)
    files = {path.name: path.read_bytes() for path in bundle.iterdir()}
    finish_bundle(bundle, status="failed", status_reason="late")
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == files
    # Killed after the manifest was written and before the spool went: the status that was decided stays.
    shutil.copytree(spare, bundle / "spool")
    (bundle / "samples.parquet").unlink()
    finish_bundle(bundle, status="failed", status_reason="late")
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == files
    # Killed while a spent spool was being removed.
    (bundle / ".spool-spent").mkdir()
    finish_bundle(bundle, status="failed", status_reason="late")
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == files


def test_a_killed_run_without_any_stream_still_becomes_a_bundle(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"run_id": "r", "status": "running", "channels": []})
    finish_bundle(tmp_path, status="failed", status_reason="engine_lost")
    assert _rows(tmp_path, "samples") == []
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "failed"
    assert not (tmp_path / "steps.parquet").exists()


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="manifest"):
        finish_bundle(tmp_path, status="partial", status_reason=None)
    with pytest.raises(BadBundle, match="no such folder"):
        finish_bundle(tmp_path / "none", status="partial", status_reason=None)


def _finish_with_little_room(bundle: Path, queue: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        finish_bundle(bundle, status="complete", status_reason=None)
    except OSError as error:
        queue.put(str(error))
    else:
        queue.put("finished")


def test_a_full_disk_leaves_the_spool_whole_for_another_try(tmp_path: Path) -> None:
    bundle = _spooled(tmp_path, samples=4000)
    before = {path.name: path.read_bytes() for path in (bundle / "spool").iterdir()}
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_finish_with_little_room, args=(bundle, queue))
    process.start()
    assert queue.get(timeout=60) != "finished"
    process.join(60)
    assert {path.name: path.read_bytes() for path in (bundle / "spool").iterdir()} == before
    assert read_manifest(bundle)["status"] == "running"
    assert not list(bundle.glob("*.tmp")) + list(bundle.glob(".*.tmp"))
    finish_bundle(bundle, status="complete", status_reason=None)
    assert len(_rows(bundle, "samples")) == 4000


def _finish(bundle: Path) -> None:
    finish_bundle(bundle, status="complete", status_reason=None)


def test_several_may_finish_one_bundle_at_once(tmp_path: Path) -> None:
    bundle = _spooled(tmp_path, samples=4000)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_finish, args=(bundle,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(_rows(bundle, "samples")) == 4000
    assert not (bundle / "spool").exists()
