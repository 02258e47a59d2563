"""Ingestion: again and again, many at once, after crashes, beside readers; and a database that can always be made anew."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from tpb_core.api.errors import BadInput
from tpb_core.api.ledger import EnergyRow, Ledger
from tpb_core.store.connection import DatabaseLocked
from tpb_core.store.database import PENDING, ingest
from tpb_core.store.ledger import write_ledgers
from tpb_core.store.live import hold_live
from tpb_core.store.manifest import read_manifest, write_manifest
from tpb_core.store.places import places_of
from tpb_core.store.query import query
from tpb_core.store.spool import StreamWriter

Make = Callable[..., Path]


def _named(number: int) -> Callable[[dict[str, Any], Any], None]:
    return lambda manifest, _: manifest.update(run_id=f"run{number}")


def _counts(database: Path) -> dict[str, int]:
    tables = ("runs", "channels", "requests", "windows", "events", "performance", "scope_energy", "samples", "steps", "results")
    return {table: query(database, f"select count(*) as n from {table}").to_pylist()[0]["n"] for table in tables}


def test_ingesting_again_changes_nothing_and_a_deleted_database_comes_back(make_bundle: Make, tmp_path: Path) -> None:
    folders = [make_bundle(_named(number), f"run{number}") for number in range(3)]
    database = tmp_path / "deep" / "tpb.duckdb"
    report = ingest(folders, database)
    assert report.ingested == folders
    counts = _counts(database)
    assert counts["runs"] == 3
    assert counts["samples"] == 3 * 31 * 4
    assert counts["results"] == 3 * 2 * 3
    ingest(folders[:2], database)
    ingest([folders[0], shutil.copytree(folders[0], tmp_path / "copy")], database)
    assert _counts(database) == counts
    database.unlink()
    ingest(folders, database)
    assert _counts(database) == counts


def test_samples_and_steps_know_their_run_also_in_a_folder_of_another_name(make_bundle: Make, tmp_path: Path) -> None:
    folders = [make_bundle(_named(0), "it's moved"), make_bundle(_named(1), "run1")]
    database = tmp_path / "tpb.duckdb"
    ingest(folders, database)
    rows = query(database, "select run_id, count(*) n from steps group by all order by all").to_pylist()
    assert rows == [{"run_id": "run0", "n": 3}, {"run_id": "run1", "n": 3}]
    (folders[1] / "steps.parquet").unlink()
    ingest(folders[:1], database)
    assert query(database, "select distinct run_id from steps").to_pylist() == [{"run_id": "run0"}]


def test_what_one_bundle_breaks_the_others_do_not_pay_for(make_bundle: Make, tmp_path: Path) -> None:
    good = make_bundle(_named(0), "good")
    bad = make_bundle(lambda _, tables: tables["samples"][3].update(channel="nobody"), "bad")
    report = ingest([bad, good], tmp_path / "tpb.duckdb")
    assert report.ingested == [good]
    assert "row 3" in report.refused[bad].what


def _killed(folder: Path, ready: Any) -> None:
    write_manifest(folder, {"run_id": "killed", "status": "running", "channels": [], "engine": {"name": "fake"}})
    held = hold_live(folder)
    writers = [StreamWriter(folder, table, "session") for table in ("requests", "windows")]
    blank = (None,) * 3
    for number in range(5):
        writers[0].append((number, f"r{number}", *blank, "measured", *blank, None, None, None, 5, 0, None, 1, 0, None, None, None, None))
        writers[0].flush()
    writers[1].append(("measure", 0, None, None))
    writers[1].flush()
    ready.set()
    time.sleep(60)
    held.close()


def test_a_killed_run_is_finished_and_one_under_way_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_killed, args=(folder, ready))
    process.start()
    assert ready.wait(60)
    database = tmp_path / "tpb.duckdb"
    assert ingest([folder], database).live == [folder]
    assert not database.exists()
    assert read_manifest(folder)["status"] == "running"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    report = ingest([folder], database)
    assert report.finished == [folder]
    assert query(database, "select status from runs").to_pylist() == [{"status": "partial"}]
    assert query(database, "select status from requests").to_pylist() == [{"status": "unfinished"}] * 5
    codes = {row["code"] for row in query(database, "select code from events").to_pylist()}
    assert codes == {"bundle_recovered", "stream_truncated"}
    assert ingest([folder], database).finished == []


_HOLDER = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('held', flush=True); time.sleep(float(sys.argv[2]))"


def _hold(database: Path, seconds: float) -> Popen[bytes]:
    process = Popen([sys.executable, "-c", _HOLDER, str(database), str(seconds)], stdout=PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    process.stdout.close()
    return process


def test_a_locked_database_is_waited_for_and_given_up_with_a_marker(make_bundle: Make, tmp_path: Path) -> None:
    folder, database = make_bundle(), tmp_path / "tpb.duckdb"
    ingest([make_bundle(_named(1), "run1")], database)
    holder = _hold(database, 60)
    start = time.monotonic()
    with pytest.raises(DatabaseLocked, match="in use"):
        ingest([folder], database, wait_s=0.5)
    assert 0.5 <= time.monotonic() - start < 5
    assert (folder / PENDING).exists()
    with pytest.raises(DatabaseLocked):
        query(database, "select 1", wait_s=0.1)
    threading.Timer(0.7, holder.kill).start()
    ingest([folder], database, wait_s=20)
    holder.wait(20)
    assert not (folder / PENDING).exists()
    assert query(database, "select count(*) n from runs").to_pylist() == [{"n": 2}]


def _ingest_one(folder: Path, database: Path) -> None:
    ingest([folder], database, wait_s=60)


def test_many_that_finish_at_once_lose_none(make_bundle: Make, tmp_path: Path) -> None:
    database = tmp_path / "tpb.duckdb"
    folders = [make_bundle(_named(number), f"run{number}") for number in range(6)]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_ingest_one, args=(folder, database)) for folder in folders]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 6
    assert query(database, "select run_id from runs order by run_id").to_pylist() == [{"run_id": f"run{number}"} for number in range(6)]
    assert query(database, "select count(distinct run_id) n from steps").to_pylist() == [{"n": 6}]


def test_a_newer_database_and_what_is_none_are_refused(make_bundle: Make, tmp_path: Path) -> None:
    database = tmp_path / "tpb.duckdb"
    ingest([make_bundle()], database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE tpb_schema SET version = 99")
    for work in (lambda: query(database, "select 1"), lambda: ingest([make_bundle()], database)):
        with pytest.raises(BadInput, match="newer tpb") as caught:
            work()
        assert caught.value.fix is not None
        assert "ingest" in caught.value.fix
    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE t (a INTEGER)")
    with pytest.raises(BadInput, match="no database of tpb"):
        ingest([make_bundle()], other)
    other.unlink()
    other.write_bytes(b"text" * 3000)
    with pytest.raises(BadInput, match="cannot be opened"):
        query(other, "select 1")
    with pytest.raises(BadInput, match="there is no database"):
        query(tmp_path / "none.duckdb", "select 1")


def test_study_outputs_are_taken_from_the_folder_beside_the_runs(make_bundle: Make, tmp_path: Path) -> None:
    make_bundle(_named(1), "runs/run1")
    study = tmp_path / "runs" / "studies" / "s1"
    row = EnergyRow("measure", "total", "prefill", "differencing", "gross", 3.0, ci_kind="between_runs")
    write_ledgers(
        study, [Ledger("differencing", "1", energy=[row, EnergyRow("measure", "total", "total", "differencing", "gross", 3.0)], point="p")]
    )
    places = places_of([tmp_path / "runs"])
    assert (len(places.bundles), places.studies) == (1, [study])
    database = tmp_path / "tpb.duckdb"
    for _ in range(2):
        ingest(places.bundles, database, studies=places.studies)
    rows = query(database, "select study_id, point, joules from study_energy where phase = 'prefill'").to_pylist()
    assert rows == [{"study_id": "s1", "point": "p", "joules": 3.0}]
    (tmp_path / "empty").mkdir()
    assert places_of([study]).studies == [study]
    with pytest.raises(BadInput, match="holds no run"):
        places_of([database.parent / "empty"])


def test_reserved_words_need_no_quotes_and_strings_are_left_alone(make_bundle: Make, tmp_path: Path) -> None:
    database = tmp_path / "tpb.duckdb"
    ingest([make_bundle()], database)
    rows = query(database, "select window, 'window' as w from results where window = 'measure' and scope = 'total' -- window").to_pylist()
    assert rows == [{"window": "measure", "w": "window"}]
    frame = "select sum(t0_ns) over w as s from windows window w as (order by t0_ns)"
    assert query(database, frame).num_rows == 2
    for wrong, says in (("select nope from runs", "nope"), ("selekt 1", "selekt"), ("delete from runs", "read-only")):
        with pytest.raises(BadInput, match=says):
            query(database, wrong)


def test_columns_of_other_programs_stay_in_the_bundle(make_bundle: Make, tmp_path: Path) -> None:
    folder = make_bundle()
    for table in ("requests", "samples"):
        content = pq.read_table(folder / f"{table}.parquet")
        pq.write_table(content.append_column("x_note", [["a"] * len(content)]), folder / f"{table}.parquet")
    database = tmp_path / "tpb.duckdb"
    ingest([folder], database)
    assert "x_note" not in query(database, "select * from requests").column_names
    assert "x_note" in query(database, "select * from samples").column_names
