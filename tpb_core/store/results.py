"""The rows of `results` for one bundle, through an in-memory database with the very views of the real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpb_core.store.bundle import Bundle
from tpb_core.store.connection import make_schema, put
from tpb_core.store.database_rows import rows_of


def results_of(bundle: Path, view: str = "results") -> list[dict[str, Any]]:
    """Rows of a view (`results`, `phases`, `energy_balance`) for one finished bundle. Raises BadBundle."""
    return views_of(bundle, [view])[view]


def views_of(bundle: Path, views: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows of several views for one finished bundle, which is opened and checked once. Raises BadBundle."""
    import duckdb

    rows = rows_of(Bundle.open(bundle))
    connection = duckdb.connect(":memory:")
    try:
        make_schema(connection)
        put(connection, "run_id", rows["runs"]["run_id"].to_pylist(), [rows])
        return {view: connection.sql(f'SELECT * FROM "{view}"').to_arrow_table().to_pylist() for view in views}
    finally:
        connection.close()
