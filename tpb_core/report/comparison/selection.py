"""From words to groups of runs: run ids, study ids, folders of bundles, or the condition of an SQL query."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.api.errors import BadInput
from tpb_core.report.comparison.records import FIGURES, RunRecord, quoted, record_of_bundle, records_of_database
from tpb_core.store.places import places_of
from tpb_core.store.query import query

_CONDITION = re.compile(r"[=<>]|\s(in|is|like|ilike|between)\s|^not\s", re.IGNORECASE)
_EXAMPLE = "Give a run id, a study id, a folder of bundles, or a condition in quotes: \"engine = 'vllm' and load_size = 8\""


@dataclass(frozen=True)
class Group:
    """The runs that one word stands for, by their start."""

    label: str
    records: list[RunRecord] = field(default_factory=list)


def group_of(word: str, database: Path, window: str) -> Group:
    """The runs of one word. Several ids or folders may be joined with commas. Raises BadInput with near misses."""
    if _CONDITION.search(word) and not Path(word).exists():
        return Group(word, _sorted(records_of_database(database, _matching(database, word, window), window)))
    records: list[RunRecord] = []
    for piece in [part for part in word.split(",") if part]:
        records += _of_piece(piece, database, window)
    if not records:
        raise BadInput(f"{word!r} names no run.", _EXAMPLE)
    return Group(word, _sorted({record.run_id: record for record in records}.values()))


def _of_piece(piece: str, database: Path, window: str) -> list[RunRecord]:
    folder = Path(piece)
    for candidate in (folder, database.parent / piece):
        if candidate.is_dir():
            found = [record_of_bundle(path, window) for path in places_of([candidate]).bundles]
            if found:
                return found
    known = query(database, "SELECT run_id, study_id FROM runs ORDER BY run_id").to_pylist() if database.exists() else []
    chosen = [row["run_id"] for row in known if piece in (row["run_id"], row["study_id"])]
    if not chosen:
        names = sorted({str(name) for row in known for name in row.values()})
        near = difflib.get_close_matches(piece, names, n=3, cutoff=0.5) or names[-3:]
        notes = [f"Known here: {', '.join(near)}"] if near else [f"There is no database at {database}."] * (not database.exists())
        raise BadInput(f"{piece!r} is no run, no study and no folder of bundles.", _EXAMPLE, notes)
    return records_of_database(database, chosen, window)


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
