"""The files of a bundle and the database, from the schemas that write them."""

from __future__ import annotations

from generator.markdown import code, table
from tpb_core.store.connection import make_schema
from tpb_core.store.reference import bundle_reference, database_reference
from tpb_core.store.views import VIEWS


def bundle_page() -> str:
    """Tables and columns; what they mean is in the format's own document."""
    title, _, tables = bundle_reference().partition("\n")
    about = "What the columns mean, in which unit, and the manifest: [the run bundle](run-bundle.md). A star marks required columns."
    return "\n".join([title, "", about, tables])


def database_page() -> str:
    """Tables, views and all columns of every view."""
    import duckdb

    connection = duckdb.connect(":memory:")
    make_schema(connection)
    lines = [database_reference().rstrip(), "", "## Columns of the other views", ""]
    for view in VIEWS:
        if view != "results":
            columns = connection.execute(f'DESCRIBE "{view}"').fetchall()
            lines += [f"### {view}", "", *table(("column", "type"), [(code(row[0]), code(row[1])) for row in columns])]
    connection.close()
    return "\n".join(lines)
