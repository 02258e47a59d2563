"""From words to groups of runs: run ids, study ids, folders of bundles, or the condition of an SQL query."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.api.errors import BadInput
from tpb_core.report.comparison.records import FIGURES, RunRecord, quoted, record_of_bundle, records_of_database
from tpb_core.report.comparison.study_figures import StudyFigures, figures_beside, figures_of_database
from tpb_core.store.places import STUDIES, places_of
from tpb_core.store.query import query

_CONDITION = re.compile(r"[=<>]|\s(in|is|like|ilike|between)\s|^not\s", re.IGNORECASE)
_EXAMPLE = "Give a run id, a study id, a folder of bundles, or a condition in quotes: \"engine = 'vllm' and load_size = 8\""


@dataclass(frozen=True)
class Group:
    """The runs that one word stands for, by their start."""

    label: str
    records: list[RunRecord] = field(default_factory=list)
    studies: list[StudyFigures] = field(default_factory=list)
    """What attributors of whole studies found, of the studies that the runs belong to."""


def group_of(word: str, database: Path, window: str) -> Group:
    """The runs of one word. Several ids or folders may be joined with commas. Raises BadInput with near misses."""
    if _CONDITION.search(word) and not Path(word).exists():
        return _of_database(word, database, _matching(database, word, window), window)
    groups = [_of_piece(piece, database, window) for piece in word.split(",") if piece]
    if not groups:
        raise BadInput(f"{word!r} names no run.", _EXAMPLE)
    records = {record.run_id: record for group in groups for record in group.records}
    studies = {(each.study_id, each.point, each.arm, each.method): each for group in groups for each in group.studies}
    return Group(word, _sorted(records.values()), list(studies.values()))


def _of_database(label: str, database: Path, run_ids: Sequence[str], window: str) -> Group:
    records = records_of_database(database, run_ids, window)
    return Group(label, _sorted(records), figures_of_database(database, _study_ids(records), window))


def _of_piece(piece: str, database: Path, window: str) -> Group:
    folder = Path(piece)
    for candidate in (folder, database.parent / piece):
        if candidate.is_dir():
            bundles = places_of([candidate]).bundles
            records = [record_of_bundle(path, window) for path in bundles]
            if records:
                return Group(piece, records, figures_beside(bundles, _study_ids(records), window))
    known = query(database, "SELECT run_id, study_id FROM runs ORDER BY run_id").to_pylist() if database.exists() else []
    name = folder.name if folder.parent.name == STUDIES else piece
    chosen = [row["run_id"] for row in known if name in (row["run_id"], row["study_id"])]
    if not chosen:
        names = sorted({str(name) for row in known for name in row.values()})
        near = difflib.get_close_matches(piece, names, n=3, cutoff=0.5) or names[-3:]
        notes = [f"Known here: {', '.join(near)}"] if near else [f"There is no database at {database}."] * (not database.exists())
        raise BadInput(f"{piece!r} is no run, no study and no folder of bundles.", _EXAMPLE, notes)
    return _of_database(piece, database, chosen, window)


def _study_ids(records: Iterable[RunRecord]) -> set[str]:
    return {str(record.run["study_id"]) for record in records if record.run["study_id"] is not None}


def _matching(database: Path, condition: str, window: str) -> list[str]:
    where = f'"window" = {quoted(window)} AND ({condition}\n)'
    rows = query(database, f"SELECT DISTINCT run_id FROM results WHERE {where} ORDER BY run_id").to_pylist()
    if not rows:
        raise BadInput(
            f"no run in {database} fits: {condition}", 'Look with:  tpb sql "select run_id, engine, model, load_size from results"'
        )
    return [str(row["run_id"]) for row in rows]


def all_runs(database: Path, condition: str | None, window: str, tables: Sequence[str] = FIGURES) -> list[RunRecord]:
    """Every run of the database, or those that fit a condition on `results`. Raises BadInput."""
    return _sorted(records_of_database(database, _matching(database, condition or "true", window), window, tables))


def _sorted(records: Iterable[RunRecord]) -> list[RunRecord]:
    return sorted(records, key=lambda record: record.run_id)
