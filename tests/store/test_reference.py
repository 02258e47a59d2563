"""The generated reference names everything that the database has, and nothing else."""

from __future__ import annotations

import duckdb

from tpb_core.store.connection import make_schema
from tpb_core.store.database_tables import DATABASE_TABLES, TABLE_MEANINGS
from tpb_core.store.reference import bundle_reference, database_reference
from tpb_core.store.views import VIEW_MEANINGS


def test_every_table_and_view_is_explained() -> None:
    with duckdb.connect(":memory:") as connection:
        make_schema(connection)
        tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        views = {row[0] for row in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()}
        columns = [row[0] for row in connection.execute("DESCRIBE results").fetchall()]
    assert tables - {"student_t", "tpb_schema"} == set(DATABASE_TABLES) == set(TABLE_MEANINGS)
    assert views == set(VIEW_MEANINGS)
    page = database_reference()
    assert all(f"| `{name}` |" in page for name in [*views, *columns])
    assert "| `value`* | `double` |" in bundle_reference()
