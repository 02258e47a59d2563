"""Bundles go into the database: finish what was killed, read, put in. Doing it again changes nothing; many may do it at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.api.codes import EventCode
from tpb_core.api.errors import BadInput, TpbError
from tpb_core.store.bundle import Bundle
from tpb_core.store.connection import DatabaseLocked, DatabaseNotWritten, opened, put, refresh_parquet_views
from tpb_core.store.database_rows import Rows, rows_of, study_rows_of
from tpb_core.store.finish import finish_bundle
from tpb_core.store.live import is_live
from tpb_core.store.manifest import read_manifest
from tpb_core.store.spool import SPOOL, StreamWriter

PENDING = ".ingest-pending"
"""Marker of a complete bundle that could not be put into the database because it was locked."""
WAIT_S = 60.0
_BATCH = 100
"""Bundles a transaction: bounds memory, and how long others wait."""


@dataclass
class IngestReport:
    """What became of each folder."""

    ingested: list[Path] = field(default_factory=list)
    finished: list[Path] = field(default_factory=list)
    """Of those: killed runs that were finished first."""
    live: list[Path] = field(default_factory=list)
    """Runs under way, left alone."""
    refused: dict[Path, TpbError] = field(default_factory=dict)
    studies: list[Path] = field(default_factory=list)


def ingest(bundles: Iterable[Path], database: Path, *, studies: Iterable[Path] = (), wait_s: float = WAIT_S) -> IngestReport:
    """Put runs (and the outputs of studies) into the database, replacing what it knows of them.

    Killed runs are finished first; a bundle that breaks the format is refused and the others go on. Raises DatabaseLocked after
    waiting for `wait_s`, leaving the marker `.ingest-pending` in each bundle that is not in; BadInput for an unusable database.
    """
    report = IngestReport()
    database = Path(database)
    opened_once = False
    folders = [Path(bundle) for bundle in bundles]
    for batch in _batches(folders, _BATCH):
        content = {bundle: rows for bundle in batch if (rows := _read(bundle, report)) is not None}
        if content:
            try:
                _put_runs(database, content, wait_s)
            except (DatabaseLocked, DatabaseNotWritten):
                _leave_markers([folder for folder in folders if folder not in report.ingested])
                raise
            opened_once = True
            report.ingested += content
    for folder in map(Path, studies):
        try:
            rows = study_rows_of(folder)
        except BadInput as error:
            report.refused[folder] = error
            continue
        with opened(database, wait_s=wait_s, read_only=False) as connection:
            put(connection, "study_id", [folder.name], [rows])
        report.studies.append(folder)
    if opened_once:
        with opened(database, wait_s=wait_s, read_only=False) as connection:
            refresh_parquet_views(connection)
    return report


def _put_runs(database: Path, content: dict[Path, Rows], wait_s: float) -> None:
    owners = [rows["runs"]["run_id"][0].as_py() for rows in content.values()]
    last = dict(zip(owners, content.values(), strict=True))  # a run that was copied is one run
    with opened(database, wait_s=wait_s, read_only=False) as connection:
        put(connection, "run_id", list(last), list(last.values()))
    for bundle in content:
        (bundle / PENDING).unlink(missing_ok=True)


def _read(bundle: Path, report: IngestReport) -> Rows | None:
    try:
        if is_killed(bundle):
            finish_killed(bundle)
            report.finished.append(bundle)
        elif not _is_finished(bundle):
            report.live.append(bundle)
            return None
        return rows_of(Bundle.open(bundle))
    except BadInput as error:
        report.refused[bundle] = error
        return None


def is_killed(bundle: Path) -> bool:
    """Whether a run was cut off: not finished, and nobody works on it. Raises BadBundle."""
    return not _is_finished(bundle) and not is_live(bundle)


def finish_killed(bundle: Path) -> None:
    """Finish a run whose processes are gone: status `partial`, event `bundle_recovered`. Raises BadBundle and OSError."""
    writer = StreamWriter(bundle, "events", "recovery")
    message = "the run ended without finishing its bundle"
    writer.append((None, "store", None, None, None, "warning", EventCode.BUNDLE_RECOVERED.value, message))
    writer.close()
    finish_bundle(bundle, status="partial", status_reason=EventCode.SESSION_LOST.value)


def _is_finished(bundle: Path) -> bool:
    return read_manifest(bundle)["status"] != "running" and not (bundle / SPOOL).is_dir()


def _leave_markers(bundles: Sequence[Path]) -> None:
    for bundle in bundles:
        with suppress(BadInput):  # what is no bundle needs no marker
            if _is_finished(bundle):
                (bundle / PENDING).touch()


def _batches(items: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
