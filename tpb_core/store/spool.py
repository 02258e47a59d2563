"""The streams that a run is written to while it goes on: append-only, compressed, flushed at least once a second, rotated.

`StreamWriter.append` stands in the hot path of the engine worker and only keeps a reference; rows become Arrow columns at a flush.
Standard library and pyarrow only.
"""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import accumulate, chain
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa

from tpb_core.store.schema import TABLES, lenient

SPOOL = "spool"
FLUSH_INTERVAL_S = 0.5
"""Half of what the format promises, so that a caller that looks once in half a second keeps the promise."""
ROTATE_BYTES = 64 << 20
_MOST_ROWS = 4_000
"""A flush in between when rows come faster than this in an interval: bounds memory and the length of one flush."""
_NAME = re.compile(r"^(?P<table>[a-z_]+)-(?P<process>.+)\.(?P<part>\d{3,})\.arrows$")


class StreamWriter:
    """Writes the rows of one table by one process into `spool/<table>-<process>.<NNN>.arrows`. For one thread.

    A write that fails (disk full, file-size limit) raises OSError, leaves what was flushed before readable and keeps the rows that
    were not written; the next flush tries again in a new file.
    """

    def __init__(
        self, bundle: Path, table: str, process: str, *, flush_interval_s: float = FLUSH_INTERVAL_S, rotate_bytes: int = ROTATE_BYTES
    ) -> None:
        self.table = table
        self.process = process
        self._schema = lenient(table)
        self._folder = Path(bundle) / SPOOL
        self._folder.mkdir(exist_ok=True)
        self._interval_s = flush_interval_s
        self._rotate_bytes = rotate_bytes
        self._convert = [_converter(field.type) for field in self._schema]
        self._options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        self._rows: list[tuple[Any, ...]] = []
        self._due_s = monotonic() + flush_interval_s
        self._part = _next_part(self._folder, table, process)
        self._file: pa.OSFile | None = None
        self._stream: pa.RecordBatchStreamWriter | None = None
        self._path: Path | None = None

    def append(self, row: tuple[Any, ...]) -> None:
        """Take one row in the column order of the schema: None is NULL, `members` a list of 5-tuples, `token_ns` a list of ints.

        Costs a fraction of a microsecond unless a flush is due. Lists must not be changed afterwards.
        """
        rows = self._rows
        rows.append(row)
        if monotonic() >= self._due_s or len(rows) >= _MOST_ROWS:
            self.flush()

    def flush_if_due(self, now_s: float | None = None) -> None:
        """Flush when the interval is over. `now_s` is on `time.monotonic()`. Call it where rows may stay away for long."""
        if (monotonic() if now_s is None else now_s) >= self._due_s:
            self.flush()

    def flush(self) -> None:
        """Write what was appended. Raises OSError; ValueError or TypeError for a row that does not fit the schema (it is dropped)."""
        self._due_s = monotonic() + self._interval_s
        if not self._rows:
            return
        rows = self._rows
        batch = self._batch(rows)
        self._write(batch)
        self._rows = []
        if self._file is not None and self._file.tell() >= self._rotate_bytes:
            self._end_file()

    def close(self) -> None:
        """Write what is left and the end mark, without which a reader takes the stream for cut off. Idempotent."""
        try:
            self.flush()
            if self._part == 0 and self._stream is None:
                self._open()  # a stream with an end mark says: this table was written, and it is empty
        finally:
            self._end_file()
            self._part = max(self._part, 1)

    def _batch(self, rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
        try:
            columns = list(zip(*rows, strict=True))
            if len(columns) != len(self._convert):
                raise ValueError(f"{self.table}: a row has {len(columns)} values, the table {len(self._convert)} columns")
            arrays = [convert(values) for convert, values in zip(self._convert, columns, strict=True)]
        except (ValueError, TypeError, pa.ArrowException):
            self._rows = [row for row in rows if self._fits(row)]
            raise
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _fits(self, row: tuple[Any, ...]) -> bool:
        try:
            for convert, value in zip(self._convert, row, strict=True):
                convert((value,))
        except (ValueError, TypeError, pa.ArrowException):
            return False
        return True

    def _open(self) -> None:
        path = self._folder / f"{self.table}-{self.process}.{self._part:03d}.arrows"
        self._part += 1
        self._path = path
        self._file = pa.OSFile(str(path), "wb")
        self._stream = pa.ipc.new_stream(self._file, self._schema, options=self._options)

    def _write(self, batch: pa.RecordBatch) -> None:
        good = 0
        try:
            if self._stream is None:
                self._open()
            assert self._stream is not None
            assert self._file is not None
            good = self._file.tell()
            self._stream.write_batch(batch)
        except OSError:
            self._abandon(good)
            raise

    def _abandon(self, good: int) -> None:
        """Close a file whose last write failed and cut off the half of a batch that may be in it."""
        stream, file, path = self._stream, self._file, self._path
        self._stream = self._file = None
        if file is not None:
            with suppress(OSError):
                file.close()
        del stream
        if path is not None:
            with suppress(OSError):
                os.truncate(path, good)
                if good == 0:
                    os.unlink(path)

    def _end_file(self) -> None:
        stream, file = self._stream, self._file
        self._stream = self._file = None
        try:
            if stream is not None:
                stream.close()
        finally:
            if file is not None:
                file.close()


def spool_files(bundle: Path) -> dict[str, list[Path]]:
    """The spool files of each table, by process and in the order in which each process wrote them."""
    found: dict[str, list[tuple[str, int, Path]]] = {}
    folder = bundle / SPOOL
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.match(path.name)
        if match and match["table"] in TABLES:
            found.setdefault(match["table"], []).append((match["process"], int(match["part"]), path))
    return {table: [path for _, _, path in sorted(parts)] for table, parts in found.items()}


def _next_part(folder: Path, table: str, process: str) -> int:
    """One after the parts that exist: a process that is started again goes on and overwrites nothing."""
    parts = [
        int(match["part"]) for path in folder.glob(f"{table}-*.arrows") if (match := _NAME.match(path.name)) and match["process"] == process
    ]
    return max(parts, default=-1) + 1


def _converter(kind: pa.DataType) -> Callable[[Sequence[Any]], pa.Array]:
    """From the Python values of a column to its array."""
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        return lambda values: _lists(values, kind, lambda flat: _structs(flat, kind.value_type))
    if pa.types.is_list(kind):
        return lambda values: _lists(values, kind, lambda flat: pa.array(flat, kind.value_type))
    return lambda values: pa.array(values, kind)


def _lists(values: Sequence[Sequence[Any] | None], kind: pa.DataType, of: Callable[[list[Any]], pa.Array]) -> pa.Array:
    """A list column from one flat array and offsets: far cheaper than an Arrow builder that walks nested Python objects."""
    lengths = [0 if value is None else len(value) for value in values]
    flat = of(list(chain.from_iterable(value for value in values if value is not None)))
    offsets = pa.array(array("i", accumulate(lengths, initial=0)), pa.int32())
    mask = pa.array([value is None for value in values], pa.bool_()) if None in values else None
    return pa.ListArray.from_arrays(offsets, flat, type=kind, mask=mask)


def _structs(flat: list[tuple[int, ...]], kind: pa.DataType) -> pa.Array:
    if not flat:
        return pa.array([], kind)
    columns = [pa.array(column, field.type) for column, field in zip(zip(*flat, strict=True), kind, strict=True)]
    return pa.StructArray.from_arrays(columns, fields=list(kind))
