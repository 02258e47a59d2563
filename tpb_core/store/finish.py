"""From the spool of a run to its Parquet files: at the end of a run, by the guardian, or by `tpb ingest` after a crash.

Works batch by batch, so that a run of 48 hours needs no more memory than one of a minute. Nothing is dropped before everything is
written and on the disk; a second call, also after a crash in the middle of the first, ends in the same files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tpb_core.api.codes import EventCode
from tpb_core.api.requests import REQUEST_STATUSES
from tpb_core.store.locks import exclusively
from tpb_core.store.manifest import read_manifest, utc_text, write_manifest
from tpb_core.store.schema import REQUIRED_TABLES, SPOOL_TABLES, lenient
from tpb_core.store.spool import SPOOL, spool_files
from tpb_core.store.streams import SpoolStream

_LAST_WINS = {"requests": "request", "windows": "window", "prompts": "prompt_id", "texts": "request"}
"""Tables that are written more than once a key while a run goes on: the last row holds."""
_ROW_GROUP_BYTES = 32 << 20
_ROW_GROUP_ROWS = 250_000
_SPENT_SPOOL = ".spool-spent"
_LOCK = ".finish.lock"


def finish_bundle(bundle: Path, *, status: str, status_reason: str | None) -> Path:
    """Turn the spool into Parquet, set the status and the end in the manifest, drop the spool; returns the bundle.

    A bundle that is finished already stays as it is. A stream without its end mark turns `complete` into `partial` and leaves the
    event `stream_truncated`; requests without an end get the status `unfinished`. Raises BadBundle without a manifest and OSError
    where the disk is full; the spool is whole then, and the call can be repeated.
    """
    bundle = Path(bundle)
    read_manifest(bundle)  # leaves no lock file in a folder that is no bundle
    with exclusively(bundle / _LOCK):
        shutil.rmtree(bundle / _SPENT_SPOOL, ignore_errors=True)
        manifest = read_manifest(bundle)
        if not (bundle / SPOOL).is_dir() and manifest["status"] != "running":
            return bundle
        cut_off = _convert(bundle, manifest)
        if manifest["status"] == "running":
            if cut_off and status == "complete":
                status, status_reason = "partial", f"{EventCode.STREAM_TRUNCATED.value}: {', '.join(cut_off)}"
            manifest = {**manifest, "status": status, "status_reason": status_reason, "finished_utc": utc_text()}
            write_manifest(bundle, manifest)
        if (bundle / SPOOL).is_dir():
            # Renamed first: half a spool must never be taken for a whole one.
            os.rename(bundle / SPOOL, bundle / _SPENT_SPOOL)
            shutil.rmtree(bundle / _SPENT_SPOOL, ignore_errors=True)
    return bundle


def _convert(bundle: Path, manifest: dict[str, Any]) -> list[str]:
    """Write the Parquet file of every table in the spool; returns the names of the streams that were cut off."""
    files = spool_files(bundle)
    cut_off: dict[str, int] = {}
    for table in SPOOL_TABLES:
        if table == "events":
            continue  # last, because the others add to it
        streams = [SpoolStream(path) for path in files.get(table, [])]
        rows = _write(bundle, table, _cleaned(table, streams)) if streams or table in REQUIRED_TABLES else 0
        cut_off |= {stream.path.name: stream.rows for stream in streams if stream.truncated}
        if table == "steps" and streams and not rows and not manifest.get("step_log", {}).get("available"):
            (bundle / "steps.parquet").unlink()  # an engine without a step log has no table of steps rather than an empty one
    streams = [SpoolStream(path) for path in files.get("events", [])]
    _write(bundle, "events", _with_truncations(streams, cut_off))
    cut_off |= {stream.path.name: stream.rows for stream in streams if stream.truncated}
    return sorted(cut_off)


def _cleaned(table: str, streams: Sequence[SpoolStream]) -> Iterator[pa.RecordBatch]:
    key = _LAST_WINS.get(table)
    if key is None:
        for stream in streams:
            yield from stream.batches()
        return
    kept = _last_of_each(key, streams)
    start = 0
    for stream in streams:
        for batch in stream.batches():
            chosen = batch.filter(pa.array(kept[start : start + batch.num_rows]))
            start += batch.num_rows
            yield _ended(chosen) if table == "requests" else chosen


def _last_of_each(key: str, streams: Sequence[SpoolStream]) -> npt.NDArray[np.bool_]:
    """Over the rows of all streams: whether a row is the last one of its key. Reads the key column only."""
    keys = [batch.column(0) for stream in streams for batch in stream.batches([key])]
    total = sum(len(each) for each in keys)
    kept = np.zeros(total, dtype=np.bool_)
    if total:
        table = pa.table({"key": pa.chunked_array(keys), "row": np.arange(total)})
        kept[table.group_by("key").aggregate([("row", "max")])["row_max"].to_numpy()] = True
    return kept


def _ended(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Requests whose end was never written are `unfinished`."""
    index = batch.schema.get_field_index("status")
    known = pc.fill_null(pc.is_in(batch.column(index), pa.array(REQUEST_STATUSES)), False)
    return batch.set_column(index, batch.schema.field(index), pc.if_else(known, batch.column(index), "unfinished"))


def _with_truncations(streams: Sequence[SpoolStream], cut_off: dict[str, int]) -> Iterator[pa.RecordBatch]:
    for stream in streams:
        yield from stream.batches()
    own = {stream.path.name: stream.rows for stream in streams if stream.truncated}
    rows = [
        {
            "source": "store",
            "level": "warning",
            "code": EventCode.STREAM_TRUNCATED.value,
            "message": f"{name} ends without its end mark; {count} rows were kept",
        }
        for name, count in sorted((cut_off | own).items())
    ]
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=lenient("events"))


def _write(bundle: Path, table: str, batches: Iterator[pa.RecordBatch]) -> int:
    """Write a table durably under its name; returns the number of rows."""
    path = bundle / f"{table}.parquet"
    temporary = bundle / f".{table}.parquet.{os.getpid()}.tmp"
    rows = 0
    try:
        with open(temporary, "wb") as file:
            with pq.ParquetWriter(file, lenient(table), compression="zstd") as writer:
                for group in _row_groups(table, batches):
                    writer.write_table(group, row_group_size=max(group.num_rows, 1))
                    rows += group.num_rows
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return rows


def _row_groups(table: str, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches of half a second gathered into groups that Parquet compresses well and that still fit into little memory."""
    gathered: list[pa.RecordBatch] = []
    size = rows = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        gathered.append(batch)
        size += batch.nbytes
        rows += batch.num_rows
        if size >= _ROW_GROUP_BYTES or rows >= _ROW_GROUP_ROWS:
            yield pa.Table.from_batches(gathered, schema=lenient(table))
            gathered, size, rows = [], 0, 0
    if gathered:
        yield pa.Table.from_batches(gathered, schema=lenient(table))
