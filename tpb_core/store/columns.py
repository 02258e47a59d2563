"""The flat columns of a table as numpy arrays, each made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tpb_core.api.attributor import Column


class Columns(Mapping[str, Column]):
    """`columns["t0_ns"]` is a `Column`; lists and structs are left out. NULL places hold 0, NaN, False or ""."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._names = [field.name for field in table.schema if not pa.types.is_nested(field.type)]
        self._made: dict[str, Column] = {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = column_of(self._table[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def column_of(column: pa.ChunkedArray) -> Column:
    """One column as arrays."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    valid = np.ones(len(column), np.bool_) if not column.null_count else column.is_valid().to_numpy()
    if column.null_count:
        column = pc.fill_null(column, _blank(kind))
    return Column(values=column.to_numpy(), valid=valid)


def integers(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """An integer column as int64, NULL as 0."""
    filled = pc.fill_null(column, _blank(column.type)) if column.null_count else column
    values: npt.NDArray[np.int64] = filled.to_numpy().astype(np.int64, copy=False)
    return values


def valid(column: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Where a column is not NULL."""
    where: npt.NDArray[np.bool_] = column.is_valid().to_numpy()
    return where


@lru_cache(maxsize=64)
def _blank(kind: pa.DataType) -> pa.Scalar:
    types = pa.types
    if types.is_floating(kind):
        return pa.scalar(float("nan"), kind)
    if types.is_string(kind) or types.is_large_string(kind):
        return pa.scalar("", kind)
    if types.is_boolean(kind):
        return pa.scalar(False, kind)
    return pa.scalar(0).cast(kind)
