"""Streams of a running bundle: what is appended is what is read, whatever ends the writer."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.store.live import hold_live, is_live
from tpb_core.store.schema import lenient
from tpb_core.store.spool import StreamWriter, spool_files

_I32 = st.integers(-(2**31), 2**31 - 1)
_I64 = st.integers(-(2**63), 2**63 - 1)
_MEMBERS = st.none() | st.lists(st.tuples(_I32, _I32, _I32, _I32, _I32), max_size=4)


def _read(path: Path) -> pa.Table:
    return pa.ipc.open_stream(str(path)).read_all()


def _step(step: int, members: list[tuple[int, ...]] | None) -> tuple[Any, ...]:
    return (step, "0", step * 10, step * 10 + 9, "host", 1, 2, 3, None, None, None, None, None, 77, None, members)


@given(st.lists(_MEMBERS, max_size=12), st.integers(0, 12))
def test_members_come_back_as_appended(tmp_path_factory: pytest.TempPathFactory, members: list[Any], cut: int) -> None:
    bundle = tmp_path_factory.mktemp("run")
    writer = StreamWriter(bundle, "steps", "worker", flush_interval_s=1e9)
    for step, each in enumerate(members):
        writer.append(_step(step, each))
        if step == cut:
            writer.flush()
    writer.close()
    names = ("request", "prefill_tokens", "decode_tokens", "emitted_tokens", "kv_tokens")
    (path,) = spool_files(bundle)["steps"]
    table = _read(path)
    assert table.schema.equals(lenient("steps"))
    assert table["members"].to_pylist() == [
        None if each is None else [dict(zip(names, one, strict=True)) for one in each] for each in members
    ]
    assert table["kv_tokens"].to_pylist() == [77] * len(members)
    assert table["draft_tokens"].null_count == len(members)


@given(
    st.lists(
        st.tuples(st.text(max_size=5), _I64, st.none() | _I64, st.none() | _I64, st.none() | st.text(max_size=3), st.floats()), max_size=20
    )
)
def test_samples_come_back_as_appended(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]) -> None:
    bundle = tmp_path_factory.mktemp("run")
    writer = StreamWriter(bundle, "samples", "sampler")
    for row in rows:
        writer.append(row)
    writer.close()
    table = _read(spool_files(bundle)["samples"][0])
    read = [tuple(row.values()) for row in table.to_pylist()]
    assert repr(read) == repr(rows)
    assert table.schema.equals(lenient("samples"))


def test_rotation_and_a_second_start_lose_and_overwrite_nothing(tmp_path: Path) -> None:
    for _ in range(2):
        writer = StreamWriter(tmp_path, "events", "a.b", rotate_bytes=1)
        for number in range(3):
            writer.append((number, "s", None, None, None, "info", "gap", "m"))
            writer.flush()
        writer.close()
    files = spool_files(tmp_path)["events"]
    assert len(files) == 6
    assert [value for path in files for value in _read(path)["t_ns"].to_pylist()] == [0, 1, 2, 0, 1, 2]


def test_a_row_that_does_not_fit_is_refused_and_the_others_are_kept(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, "events", "s", flush_interval_s=1e9)
    good = (1, "s", None, None, None, "info", "gap", "m")
    writer.append(good)
    writer.append(("soon", *good[1:]))
    writer.append(good)
    with pytest.raises((TypeError, ValueError)):
        writer.flush()
    writer.close()
    assert _read(spool_files(tmp_path)["events"][0]).num_rows == 2


def test_rows_reach_the_disk_within_a_second_without_being_told(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path, "events", "s")
    start = time.monotonic()
    while time.monotonic() < start + 0.7:
        writer.append((1, "s", None, None, None, "info", "gap", "m"))
        time.sleep(0.05)
    assert _read(spool_files(tmp_path)["events"][0]).num_rows > 0
    writer.close()


def _fill_until_refused(bundle: Path, queue: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    writer = StreamWriter(bundle, "samples", "sampler", flush_interval_s=1e9)
    written = 0
    try:
        while True:
            for _ in range(200):
                writer.append(("c", int.from_bytes(os.urandom(6)), None, None, None, int.from_bytes(os.urandom(6)) * 1.1))
            writer.flush()
            written += 200
    except OSError:
        queue.put(written)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    writer.close()


def test_a_file_size_limit_is_an_oserror_and_leaves_whole_batches(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_fill_until_refused, args=(tmp_path, queue))
    process.start()
    written = queue.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0
    files = spool_files(tmp_path)["samples"]
    assert written > 0
    assert _read(files[0]).num_rows == written
    assert sum(_read(path).num_rows for path in files) == written + 200, "the rows that were refused are kept for the next file"


def _hold_and_wait(bundle: Path) -> None:
    handle = hold_live(bundle)
    print(handle.name)
    time.sleep(60)


def test_live_ends_with_the_process_however_it_ends(tmp_path: Path) -> None:
    assert not is_live(tmp_path)
    own = hold_live(tmp_path)
    assert is_live(tmp_path)
    own.close()
    assert not is_live(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=_hold_and_wait, args=(tmp_path,))
    process.start()
    while not is_live(tmp_path):
        time.sleep(0.02)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert not is_live(tmp_path)
