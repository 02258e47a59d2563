"""The database file: one DuckDB file with tables and views. Opened briefly, because it has one writer at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tpb_core.api.errors import EXIT_FAILED, BadInput, TpbError
from tpb_core.store.database_rows import Rows
from tpb_core.store.database_tables import DATABASE_TABLES, SCHEMA_VERSION, create_statement
from tpb_core.store.views import VIEWS, parquet_view

if TYPE_CHECKING:
    import duckdb

DEFAULT_DATABASE = Path("runs/tpb.duckdb")
_LONGEST_PAUSE_S = 0.5
_IN_USE = ("Could not set lock", "Conflicting lock", "different configuration")
"""What DuckDB says where another process, or another connection of this one, has the file."""
_DOF_LISTED = 200
"""Rows of the table of Student's t; beyond, it differs from the last one by less than 1 %."""


class DatabaseLocked(TpbError):
    """Somebody else had the database open for longer than we waited."""

    exit_code = EXIT_FAILED


class DatabaseNotWritten(TpbError):
    """The disk is full, or the file cannot be written for another reason; what was in it stays."""

    exit_code = EXIT_FAILED


@contextmanager
def opened(database: Path, *, wait_s: float, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the database, made with tables and views when it is opened for writing and not there yet.

    Raises DatabaseLocked after `wait_s`, DatabaseNotWritten where the disk is full, BadInput where the file is missing (to read), no
    database of tpb, or from a newer version.
    """
    if read_only and not database.exists():
        raise BadInput(f"there is no database at {database}", "Measure something (tpb), or make it from bundles: tpb ingest runs")
    import duckdb

    try:
        connection = _connect(database, wait_s, read_only)
        try:
            _check_version(connection, database, make=not read_only)
            yield connection
        finally:
            connection.close()
    except duckdb.Error as error:
        if read_only:  # a question that DuckDB does not understand: the caller knows what was asked
            raise
        reason = str(error).splitlines()[0]
        raise DatabaseNotWritten(
            f"{database} cannot be written: {reason}", "Free some space; the bundles are kept: tpb ingest runs"
        ) from error


def _connect(database: Path, wait_s: float, read_only: bool) -> duckdb.DuckDBPyConnection:
    import duckdb

    deadline = time.monotonic() + wait_s
    if not read_only:
        database.parent.mkdir(parents=True, exist_ok=True)
    pause_s = 0.01
    while True:
        try:
            return duckdb.connect(str(database), read_only=read_only)
        except (duckdb.IOException, duckdb.ConnectionException) as error:
            if not any(sign in str(error) for sign in _IN_USE):
                raise BadInput(
                    f"{database} cannot be opened: {error}", f"Make it again from the bundles: rm {database}; tpb ingest runs"
                ) from None
            if time.monotonic() >= deadline:
                raise DatabaseLocked(
                    f"{database} is in use by another program, also after waiting for {wait_s:g} s",
                    "Close what has it open (a duckdb shell, a notebook), then type: tpb ingest runs",
                ) from None
        # Jitter: of many runs that finish together each gets its turn.
        time.sleep(random.uniform(0.3, 1.0) * pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _check_version(connection: duckdb.DuckDBPyConnection, database: Path, *, make: bool) -> None:
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "tpb_schema" not in tables:
        if tables or not make:
            raise BadInput(f"{database} is no database of tpb", "Give another file: --database runs/tpb.duckdb")
        make_schema(connection)
        return
    (version,) = connection.execute("SELECT version FROM tpb_schema").fetchall()[0]
    if version > SCHEMA_VERSION:
        raise BadInput(
            f"{database} was written by a newer tpb (schema {version}; this one knows {SCHEMA_VERSION})",
            "Update tpb, or make another one from the bundles: tpb ingest runs --database runs/other.duckdb",
        )


def make_schema(connection: duckdb.DuckDBPyConnection) -> None:
    """Make all tables and views in an empty database."""
    from scipy import special

    factors = ", ".join(f"({dof}, {special.stdtrit(dof, 0.975)!r})" for dof in range(1, _DOF_LISTED + 1)).replace("np.float64", "")
    statements = [
        *(create_statement(table) for table in DATABASE_TABLES),
        "CREATE TABLE student_t (dof INTEGER, t975 DOUBLE)",
        f"INSERT INTO student_t VALUES {factors}",
        *(f'CREATE VIEW "{name}" AS {query}' for name, query in VIEWS.items()),
        *(f'CREATE VIEW "{table}" AS {parquet_view(table, {})}' for table in ("samples", "steps")),
        "CREATE TABLE tpb_schema (version INTEGER)",
        f"INSERT INTO tpb_schema VALUES ({SCHEMA_VERSION})",
    ]
    _in_transaction(connection, lambda: [connection.execute(statement) for statement in statements])


def put(connection: duckdb.DuckDBPyConnection, key: str, owners: Sequence[str], rows: Sequence[Rows]) -> None:
    """Replace everything that belongs to the owners (`key` is `run_id` or `study_id`) by `rows`, in one transaction."""
    import pyarrow as pa

    def replace() -> None:
        for table, schema in DATABASE_TABLES.items():
            if schema.names[0] != key:
                continue
            connection.execute(f'DELETE FROM "{table}" WHERE {key} IN (SELECT unnest(?))', [list(owners)])
            content = [each[table] for each in rows if table in each]
            if content and any(part.num_rows for part in content):
                connection.register("incoming", pa.concat_tables(content))
                connection.execute(f'INSERT INTO "{table}" SELECT * FROM incoming')
                connection.unregister("incoming")

    _in_transaction(connection, replace)


def refresh_parquet_views(connection: duckdb.DuckDBPyConnection) -> None:
    """Point `samples` and `steps` at the files of the runs in the database that are (still) there."""
    bundles = connection.execute("SELECT bundle, run_id FROM runs ORDER BY run_id").fetchall()
    for table in ("samples", "steps"):
        files = {f"{bundle}/{table}.parquet": run_id for bundle, run_id in bundles}
        there = {path: run_id for path, run_id in files.items() if Path(path).exists()}
        connection.execute(f'CREATE OR REPLACE VIEW "{table}" AS {parquet_view(table, there)}')


def _in_transaction(connection: duckdb.DuckDBPyConnection, work: Callable[[], Any]) -> None:
    connection.begin()
    try:
        work()
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
