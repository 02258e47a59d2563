"""Questions to the database: opened read-only for one query and closed again, so that runs can be put in at any time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tpb_core.api.errors import BadInput
from tpb_core.store.connection import DEFAULT_DATABASE, opened

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

WAIT_S = 10.0
_PIECES = re.compile(
    r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|\$\w*\$.*?\$\w*\$)|\b(window|check)\b""", re.IGNORECASE | re.DOTALL
)


def query(database: Path = DEFAULT_DATABASE, sql: str = "SELECT * FROM results", *, wait_s: float = WAIT_S) -> pa.Table:
    """The answer to a query. The columns `window` and `check` need no quotes here, although SQL reserves these words.

    Raises BadInput with what DuckDB says of a query it does not understand or may not run (the database is read-only), DatabaseLocked
    where runs are being put in for longer than `wait_s`.
    """
    import duckdb

    with opened(Path(database), wait_s=wait_s, read_only=True) as connection:
        try:
            return _answer(connection, sql)
        except duckdb.Error as error:
            raise BadInput(str(error).strip(), "Tables and columns:  tpb sql 'SHOW TABLES'   tpb sql 'DESCRIBE results'") from None


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    import duckdb
    import pyarrow as pa

    try:
        relation = connection.sql(sql)
    except duckdb.ParserException:
        quoted = _quote_reserved(sql)
        if quoted == sql:
            raise
        try:
            relation = connection.sql(quoted)
        except duckdb.ParserException:
            relation = connection.sql(sql)  # the message about what was typed is the helpful one
    return pa.table({}) if relation is None else relation.to_arrow_table()


def _quote_reserved(sql: str) -> str:
    return _PIECES.sub(lambda match: match[1] or f'"{match[2]}"', sql)
