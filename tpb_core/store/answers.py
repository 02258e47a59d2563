"""Answers to queries as text or bytes: table, CSV, JSON, Parquet, Markdown. NULL stays visible; only tables round numbers."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_DIGITS = 6
"""Significant digits of a float in a table or Markdown; the other formats give all of them."""


def as_table(answer: pa.Table, width: int | None = None) -> str:
    """Aligned columns. Where they do not fit into `width` characters, each row becomes a block of `name  value` lines."""
    names, rows = answer.column_names, _cells(answer)
    widths = [max([len(name), *(len(row[i]) for row in rows)]) for i, name in enumerate(names)]
    count = f"({len(rows)} row{'' if len(rows) == 1 else 's'})"
    if width is not None and sum(widths) + 2 * len(widths) > width and rows:
        longest = max(map(len, names))
        blocks = ["\n".join(f"{name.ljust(longest)}  {cell}".rstrip() for name, cell in zip(names, row, strict=True)) for row in rows]
        return "\n\n".join([*blocks, count])
    right = [_is_number(field.type) for field in answer.schema]
    lines = [_line(names, widths, right), "  ".join("-" * each for each in widths)]
    lines += [_line(row, widths, right) for row in rows]
    return "\n".join([*lines, count])


def as_markdown(answer: pa.Table) -> str:
    """A Markdown table."""
    header = [f"| {' | '.join(answer.column_names)} |"]
    rule = ["|" + "|".join(" ---: " if _is_number(field.type) else " --- " for field in answer.schema) + "|"]
    return "\n".join([*header, *rule, *(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in _cells(answer))])


def as_json(answer: pa.Table) -> str:
    """A list of objects; times in ISO 8601."""
    return json.dumps([_plain(row) for row in answer.to_pylist()], indent=1)


def as_csv(answer: pa.Table) -> str:
    """RFC 4180 with a header; NULL is an empty field, lists and structs are JSON."""
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.column_names)
    for row in answer.to_pylist():
        writer.writerow([_field(value) for value in row.values()])
    return text.getvalue().rstrip("\n")


def as_parquet(answer: pa.Table) -> bytes:
    """A Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(answer, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


TEXT_FORMATS: dict[str, Callable[[pa.Table], str]] = {"table": as_table, "csv": as_csv, "json": as_json, "markdown": as_markdown}
FORMATS = (*TEXT_FORMATS, "parquet")


def _cells(answer: pa.Table) -> list[list[str]]:
    return [[_cell(value) for value in row.values()] for row in answer.to_pylist()]


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.{_DIGITS}g}" if math.isfinite(value) else str(value)
    if isinstance(value, (list, dict)):
        return json.dumps(_plain(value))
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value).replace("\n", " ")


def _field(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return json.dumps(_plain(value))
    return value.isoformat() if isinstance(value, (datetime, date)) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return float(value) if value % 1 else int(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return value.isoformat() if isinstance(value, (datetime, date)) else str(value)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in zip(cells, widths, right, strict=True)]
    return "  ".join(padded).rstrip()
