"""Rows of the views for bundles alone, through an in-memory database with the very views of the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpb_core.store.bundle import Bundle
from tpb_core.store.connection import make_schema, put
from tpb_core.store.database_rows import rows_of


def results_of(bundle: Path, view: str = "results") -> list[dict[str, Any]]:
    """Rows of a view (`results`, `phases`, `energy_balance`) for one finished bundle. Raises BadBundle."""
    return views_of([bundle], [view])[view]


def views_of(bundles: Sequence[Path], views: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows of several views for finished bundles, each of which is opened and checked once. Raises BadBundle."""
    import duckdb

    found = [rows_of(Bundle.open(bundle)) for bundle in bundles]
    by_run = {rows["runs"]["run_id"][0].as_py(): rows for rows in found}
    connection = duckdb.connect(":memory:")
    try:
        make_schema(connection)
        put(connection, "run_id", list(by_run), list(by_run.values()))
        return {view: connection.sql(f'SELECT * FROM "{view}"').to_arrow_table().to_pylist() for view in views}
    finally:
        connection.close()
