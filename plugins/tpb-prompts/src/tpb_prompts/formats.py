"""Reading prompt files: JSONL, JSON, CSV and Parquet into numbered raw rows. A row that cannot be read is a `BadRow`, not an end."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpb_core.api import BadInput


@dataclass(frozen=True)
class BadRow:
    """Why a row cannot be a prompt."""

    reason: str


Rows = Iterator[tuple[int, dict[str, Any] | BadRow]]
"""Row numbers from 1, with the row's fields or the reason why there are none."""


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _parse(text: str) -> Any:
    return json.loads(text, parse_constant=_constant)


def _as_fields(value: Any) -> dict[str, Any] | BadRow:
    return value if isinstance(value, dict) else BadRow(f"is a {type(value).__name__}, not an object with fields")


def read_jsonl(path: Path) -> Rows:
    """One JSON object a line; empty lines are passed over but counted. Raises OSError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                yield number, _as_fields(_parse(line.decode("utf-8")))
            except UnicodeDecodeError as error:
                yield number, BadRow(f"is not UTF-8 (byte {error.start} of the line)")
            except (ValueError, RecursionError) as error:
                yield number, BadRow(f"is not JSON: {error}")


def _whole_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 (byte {error.start}).", "Convert it:  iconv -t UTF-8") from error


def read_json(path: Path) -> Rows:
    """A list of objects, or an object with such a list under `prompts`. Raises `BadInput` where the file as a whole is not that."""
    try:
        content = _parse(_whole_text(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is not JSON: {error}", "For one object a line, name the file .jsonl or add  prompts.format=jsonl"
        ) from error
    if isinstance(content, dict):
        content = content.get("prompts")
    if not isinstance(content, list):
        raise BadInput(f"{path} holds neither a list of prompts nor an object with one under 'prompts'.")
    for number, value in enumerate(content, 1):
        yield number, _as_fields(value)


def read_csv(path: Path) -> Rows:
    """Records under a header line. Empty cells are absent fields. Raises `BadInput` for a file without a usable header."""
    reader = csv.reader(io.StringIO(_whole_text(path), newline=""), strict=True)
    number = 0
    header: list[str] | None = None
    while True:
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if header is None:
                raise BadInput(f"{path}: the header is not CSV: {error}") from error
            number += 1
            yield number, BadRow(f"is not CSV: {error} (line {reader.line_num})")
            continue
        if header is None:
            header = [name.strip() for name in record]
            if len(set(header)) != len(header):
                raise BadInput(f"{path}: the header names a column twice: {', '.join(header)}")
            continue
        if not record:
            continue
        number += 1
        if len(record) != len(header):
            yield number, BadRow(f"has {len(record)} cells, the header has {len(header)} (line {reader.line_num})")
        else:
            yield number, {name: cell for name, cell in zip(header, record, strict=True) if cell != ""}


def read_parquet(path: Path) -> Rows:
    """Rows of a Parquet file, read in batches. Raises `BadInput` where it is not Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: value for name, value in row.items() if value is not None and not _is_nan(value)}
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)  # how data frames write an absent number


READERS: dict[str, Callable[[Path], Rows]] = {"jsonl": read_jsonl, "json": read_json, "csv": read_csv, "parquet": read_parquet}
SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
