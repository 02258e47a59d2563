"""Writing what attributors return into the four outputs: merged by method, checked first, each file replaced atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tpb_core.api.errors import BadBundle
from tpb_core.api.ledger import REQUEST_ENERGY_COLUMNS, BudgetRow, EnergyRow, Ledger, ValidityRow
from tpb_core.store.invariants import check_invariants
from tpb_core.store.locks import exclusively
from tpb_core.store.outputs import check_output
from tpb_core.store.schema import OUTPUT_TABLES, TABLES
from tpb_core.store.tables import conform, read_table

_LOCK = ".ledger.lock"


def write_ledgers(folder: Path, ledgers: Sequence[Ledger]) -> None:
    """Merge the ledgers into the outputs of a bundle or of a study's folder. Rows of the same method are replaced, others are kept.

    Raises ValueError, before anything is written, for a ledger that breaks the format or its invariants (the attributor's fault),
    BadBundle where outputs that are there already cannot be read, OSError where the disk is full.
    """
    if not ledgers:
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    new = {table: pa.concat_tables([_table(table, ledger) for ledger in ledgers]) for table in OUTPUT_TABLES}
    methods = sorted({ledger.method for ledger in ledgers})
    try:
        for table in OUTPUT_TABLES:
            new[table] = conform(new[table], table, f"{table}.parquet")
            check_output(table, new[table])
        check_invariants(new["energy"], new["request_energy"])
    except BadBundle as error:
        raise ValueError(f"the ledger of {', '.join(methods)} breaks the format: {error.what}") from error
    with exclusively(folder / _LOCK):
        merged = {table: _merged(folder, table, new[table], methods) for table in OUTPUT_TABLES}
        _replace_all(folder, merged)


def _merged(folder: Path, table: str, new: pa.Table, methods: Sequence[str]) -> pa.Table:
    there = read_table(folder, table)
    if there is None:
        return new
    replaced = pc.fill_null(pc.is_in(there["method"], pa.array(methods, pa.string())), False)
    return pa.concat_tables([there.filter(pc.invert(replaced)), new], promote_options="default")


def _replace_all(folder: Path, tables: dict[str, pa.Table]) -> None:
    """All four are on the disk before the first is renamed."""
    temporaries = {table: folder / f".{table}.parquet.{os.getpid()}.tmp" for table in tables}
    try:
        for table, content in tables.items():
            with open(temporaries[table], "wb") as file:
                pq.write_table(content, file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
        for table, temporary in temporaries.items():
            os.replace(temporary, folder / f"{table}.parquet")
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def _table(table: str, ledger: Ledger) -> pa.Table:
    """The rows of one ledger with the columns that say where they come from. NaN is NULL."""
    if table == "request_energy":
        content = _request_columns(ledger)
    else:
        rows: Sequence[EnergyRow | BudgetRow | ValidityRow] = getattr(ledger, table)
        names = [field.name for field in fields(_ROW_CLASSES[table])]
        content = {name: _column(table, name, [getattr(row, name) for row in rows]) for name in names}
    count = len(next(iter(content.values()))) if content else 0
    written = content.get("method")
    if written is None or table == "validity":
        content["method"] = _repeated(ledger.method, count)
    elif pc.any(pc.not_equal(written, ledger.method)).as_py():
        raise ValueError(f"rows of {table} name another method than their ledger, {ledger.method!r}")
    content["attributor_version"] = _repeated(ledger.attributor_version, count)
    content["parameters"] = _repeated(json.dumps(ledger.parameters, sort_keys=True, default=str), count)
    content["point"] = _repeated(ledger.point, count)
    content["arm"] = _repeated(ledger.arm, count)
    schema = TABLES[table]
    arrays = [content[field.name] if field.name in content else pa.nulls(count, field.type) for field in schema]
    return pa.table(arrays, names=schema.names)


_ROW_CLASSES: dict[str, type] = {"energy": EnergyRow, "budget": BudgetRow, "validity": ValidityRow}


def _request_columns(ledger: Ledger) -> dict[str, pa.Array]:
    unknown = sorted(set(ledger.request_energy) - set(REQUEST_ENERGY_COLUMNS))
    if unknown:
        raise ValueError(f"request_energy has columns that the format does not know: {', '.join(unknown)}")
    lengths = {name: len(values) for name, values in ledger.request_energy.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of request_energy differ in length: {lengths}")
    return {name: _column("request_energy", name, values) for name, values in ledger.request_energy.items()}


def _column(table: str, name: str, values: Iterable[Any]) -> pa.Array:
    kind = TABLES[table].field(name).type
    if isinstance(values, np.ndarray) and values.dtype.kind == "U":
        values = values.tolist()
    array = pa.array(values, kind, from_pandas=True)
    if name in ("value", "limit"):  # an open limit (infinite) is no number that a reader could compare with
        array = pc.if_else(pc.is_finite(array), array, pa.scalar(None, kind))
    return array


def _repeated(value: str | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.string()) if value is None else pa.repeat(pa.scalar(value, pa.string()), count)
