"""Reading a table of a bundle, whoever wrote it: any encoding, integer width, string type, column order; unknown columns are kept.

What cannot be read as the contract says is refused with file, column and row (counted from 0 in the order of the file).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tpb_core.api.errors import BadBundle
from tpb_core.store.schema import TABLES

_LARGE_ROWS = 50_000


def read_table(bundle: Path, table: str) -> pa.Table | None:
    """A table of the bundle in the types of its schema, rows in the order of the file; None where there is no such file.

    Schema columns that the file lacks are added as NULL; columns unknown to this version follow after those of the schema. Tables
    whose names start with `x_` have no schema and come as they are.
    """
    file = open_parquet(bundle, table)
    if file is None:
        return None
    with file:
        try:
            content = file.read(use_threads=_is_large(file))
        except (pa.ArrowException, OSError) as error:
            raise unreadable(bundle, table, error) from None
    return content if table not in TABLES else conform(content, table, f"{table}.parquet")


def open_parquet(bundle: Path, table: str) -> pq.ParquetFile | None:
    """The open file of a table, or None where there is none. Raises BadBundle where it is not Parquet or names a column twice."""
    path = bundle / f"{table}.parquet"
    if not path.exists():
        return None
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise unreadable(bundle, table, error) from None
    for name in names:
        if names.count(name) > 1:
            file.close()
            raise BadBundle("the column is there twice", file=path.name, column=name)
    return file


def parts_of(bundle: Path, table: str, file: pq.ParquetFile, rows: int, columns: list[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
    """The table in pieces of at most `rows` rows, each with the row of the file it begins with; one empty piece of an empty file.

    Nested columns decode to several times their size: piece by piece, a long log fits beside what is kept of it.
    """
    start = 0
    batches = file.iter_batches(batch_size=rows, columns=columns, use_threads=_is_large(file))
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(bundle, table, error) from None
        if batch is None:
            break
        if batch.num_rows:
            yield start, conform(pa.Table.from_batches([batch]), table, f"{table}.parquet", start)
            start += batch.num_rows
    if not start:
        empty = file.schema_arrow.empty_table()
        yield 0, conform(empty if columns is None else empty.select(columns), table, f"{table}.parquet")


def _is_large(file: pq.ParquetFile) -> bool:
    """Whether several threads are worth starting."""
    return bool(file.metadata.num_rows > _LARGE_ROWS)


def unreadable(bundle: Path, table: str, error: Exception) -> BadBundle:
    """The refusal of a file that Parquet itself cannot read."""
    return BadBundle(f"is not a readable Parquet file: {error}", file=str(bundle / f"{table}.parquet"))


def conform(content: pa.Table, table: str, file: str, first_row: int = 0) -> pa.Table:
    """`content` with the columns of the schema first, in its types. `first_row` is the row of the file that `content` begins with."""
    schema = TABLES[table]
    columns: list[pa.ChunkedArray] = []
    for field in schema:
        if field.name not in content.column_names:
            if not field.nullable:
                raise BadBundle("the required column is missing", file=file, column=field.name)
            columns.append(pa.chunked_array([pa.nulls(content.num_rows, field.type)]))
            continue
        column = _cast(content[field.name], field.type, file, field.name, first_row)
        if not field.nullable and column.null_count:
            raise BadBundle("is NULL in a required column", file=file, column=field.name, row=first_row + first(pc.is_null(column)))
        if pa.types.is_floating(field.type):
            _refuse_unless_finite(column, file, field.name, first_row)
        columns.append(column)
    unknown = [name for name in content.column_names if name not in schema.names]
    return pa.table([*columns, *(content[name] for name in unknown)], names=[*schema.names, *unknown])


def first(condition: pa.ChunkedArray | pa.Array) -> int:
    """The index of the first true entry; -1 where there is none."""
    flags = condition.to_numpy(zero_copy_only=False)
    return int(flags.argmax()) if flags.any() else -1


def refuse_unless_among(
    column: pa.ChunkedArray, permitted: Sequence[str], file: str, name: str, *, own_allowed: bool = False, first_row: int = 0
) -> None:
    """Refuse a string that is none of the permitted ones (NULL is fine). `own_allowed`: names that start with `x_` are fine too."""
    if column.null_count == len(column):
        return
    bad = pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, pa.array(permitted, pa.string()))))
    row = first(bad)
    if row >= 0 and own_allowed:
        row = first(pc.and_kleene(bad, pc.invert(pc.starts_with(column, "x_"))))
    if row >= 0:
        raise BadBundle(f"{column[row].as_py()!r} is none of {', '.join(permitted)}", file=file, column=name, row=first_row + row)


def _refuse_unless_finite(column: pa.ChunkedArray, file: str, name: str, first_row: int) -> None:
    if pc.all(pc.is_finite(column)).as_py() is not False:
        return
    row = first(pc.and_kleene(pc.is_valid(column), pc.invert(pc.is_finite(column))))
    raise BadBundle(f"{column[row].as_py()} is not a finite number", file=file, column=name, row=first_row + row)


def _cast(column: pa.ChunkedArray, target: pa.DataType, file: str, name: str, first_row: int) -> pa.ChunkedArray:
    if column.type == target:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is_acceptable(column.type, target):
        raise BadBundle(f"has the type {column.type} where {target} belongs", file=file, column=name)
    try:
        if pa.types.is_floating(target):
            return column.cast(target, safe=False)  # a large integer loses digits that a measurement does not have
        return column.cast(target)
    except pa.ArrowException as error:
        row = _first_that_fails(column, target)
        raise BadBundle(f"does not fit {target}: {error}", file=file, column=name, row=None if row is None else first_row + row) from None


def _is_acceptable(given: pa.DataType, target: pa.DataType) -> bool:
    types = pa.types
    if types.is_null(given):
        return True
    if types.is_dictionary(given):
        return _is_acceptable(given.value_type, target)
    if types.is_string(target):
        return bool(types.is_string(given) or types.is_large_string(given)) or str(given) in ("string_view", "binary", "large_binary")
    if types.is_integer(target):
        return bool(types.is_integer(given))
    if types.is_floating(target):
        return bool(types.is_integer(given) or types.is_floating(given) or types.is_decimal(given))
    if types.is_boolean(target):
        return bool(types.is_boolean(given))
    if types.is_list(target):
        is_list = types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given)
        return bool(is_list) and _is_acceptable(given.value_type, target.value_type)
    if types.is_struct(target):
        if not types.is_struct(given):
            return False
        fields = {field.name: field.type for field in given}
        return all(field.name in fields and _is_acceptable(fields[field.name], field.type) for field in target)
    return False


def _first_that_fails(column: pa.ChunkedArray, target: pa.DataType) -> int | None:
    """The first row that cannot be cast, by halving: the error of Arrow does not say which one it is."""
    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(target)
            low = middle
        except pa.ArrowException:
            high = middle
    return low if high > low else None
