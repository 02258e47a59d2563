"""The rows of `results` for one bundle, through an in-memory database with the very views of the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tpb_core.store.bundle import Bundle
from tpb_core.store.connection import make_schema, put
from tpb_core.store.database_rows import rows_of


def results_of(bundle: Path, view: str = "results") -> list[dict[str, Any]]:
    """Rows of a view (`results`, `phases`, `energy_balance`) for one finished bundle. Raises BadBundle."""
    import duckdb

    rows = rows_of(Bundle.open(bundle))
    connection = duckdb.connect(":memory:")
    try:
        make_schema(connection)
        put(connection, "run_id", rows["runs"]["run_id"].to_pylist(), [rows])
        found: list[dict[str, Any]] = connection.sql(f'SELECT * FROM "{view}"').to_arrow_table().to_pylist()
        return found
    finally:
        connection.close()
