"""What `measure` and `attach` share: compose the meters, watch, put into the database, print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tpb_core.api.errors import EXIT_DONE, TpbError

if TYPE_CHECKING:
    from tpb_core.run.observation import Subject

_DATABASE_WAIT_S = 10.0


def observe_and_print(
    words: list[str], subject: Subject, slice_s: float | None, further: Callable[[Path], Iterable[str]] | None = None
) -> int:
    """Watch a subject with the meters that the words choose; returns the exit code. `further` gives lines to print below the table."""
    from tpb_core.config.compose import compose
    from tpb_core.report.table import print_run, result_console
    from tpb_core.run.output_folder import check_output_folder
    from tpb_core.run.session import observe
    from tpb_core.store.database import ingest

    point = compose(words)
    check_output_folder(Path(point.out.dir))
    result = observe(point, subject, slice_s=slice_s)
    database: Path | None = Path(point.out.database) if point.out.database is not None else Path(point.out.dir) / "tpb.duckdb"
    try:
        assert database is not None
        ingest([result.bundle], database, wait_s=_DATABASE_WAIT_S)
    except TpbError as error:
        print("\n".join([*error.lines(), f"The bundle is complete. Later:  tpb ingest {result.bundle}"]), file=sys.stderr)
        database = None
    print_run([result.bundle], result_console(), database)
    for line in further(result.bundle) if further is not None else ():
        print(line)
    if result.error is not None:
        print("\n".join(result.error.lines()), file=sys.stderr)
        return result.error.exit_code
    return EXIT_DONE
