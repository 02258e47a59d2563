"""Reading spool streams: every whole batch of a stream, also of one whose writer was killed in the middle of a write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

_END_MARK = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""What an Arrow stream ends with: a continuation marker and a metadata length of zero."""


class SpoolStream:
    """One spool file. `truncated` is known after the batches were read to the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = not _has_end_mark(path)
        self.rows = 0

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The batches in the order of writing; `columns` reads only those."""
        self.rows = 0
        try:
            with pa.OSFile(str(self.path), "rb") as file:
                schema = pa.ipc.read_schema(file)
                fields = None if columns is None else [schema.get_field_index(name) for name in columns]
                file.seek(0)
                with pa.ipc.open_stream(file, options=pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)) as reader:
                    for batch in reader:
                        self.rows += batch.num_rows
                        yield batch
        except (pa.ArrowException, OSError, EOFError):
            self.truncated = True  # what comes after the damage cannot be told from noise; what came before is whole


def _has_end_mark(path: Path) -> bool:
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(_END_MARK)))
        return file.read() == _END_MARK
