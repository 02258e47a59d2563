"""The reference of the database as Markdown, made from the very tables that the database is made from."""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core.store.database_tables import DATABASE_TABLES, SCHEMA_VERSION, TABLE_MEANINGS
from tpb_core.store.result_columns import RESULT_COLUMNS
from tpb_core.store.schema import TABLES, required_columns
from tpb_core.store.views import VIEW_MEANINGS


def database_reference() -> str:
    """Tables, views and the columns of `results`, one Markdown page."""
    lines = [
        "# The database",
        "",
        f"One DuckDB file (`runs/tpb.duckdb`), schema version {SCHEMA_VERSION}, rebuilt from bundles by `tpb ingest`."
        " NULL means not measured; a column `reason` beside it says why.",
        "",
        "## Views",
        "",
        *_table(("view", "holds"), [(f"`{name}`", meaning) for name, meaning in VIEW_MEANINGS.items()]),
        "",
        "## Columns of `results`",
        "",
        *_table(("column", "unit", "meaning"), [(f"`{column.name}`", column.unit, column.meaning) for column in RESULT_COLUMNS]),
        "",
        "## Tables",
        "",
    ]
    for name, schema in DATABASE_TABLES.items():
        columns = ", ".join(f"`{column}`" for column in schema.names)
        lines += [f"**`{name}`**: {TABLE_MEANINGS[name]}.", "", columns, ""]
    return "\n".join(lines)


def bundle_reference() -> str:
    """The Parquet files of a bundle with their columns and types; a star marks what every file must have."""
    lines = ["# Files of a run bundle", ""]
    for name, schema in TABLES.items():
        required = required_columns(name)
        rows = [(f"`{field.name}`{'*' if field.name in required else ''}", f"`{field.type}`") for field in schema]
        lines += [f"## {name}.parquet", "", *_table(("column", "type"), rows), ""]
    return "\n".join(lines)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    rule = tuple("---" for _ in header)
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in (header, rule, *rows)]
