"""What attributors of a whole study found for one point: its energies over pairs of runs, with budget, as figures that can be compared."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from tpb_core.report.comparison.energy_figures import Energy, energy_of
from tpb_core.report.comparison.records import Row, RunRecord, quoted
from tpb_core.store.places import STUDIES
from tpb_core.store.query import query
from tpb_core.store.tables import read_table

TABLES = ("energy", "budget")
RUNS = "runs"
"""The parameter of a study's ledger that names the runs behind it; without it nobody knows whether a group holds them all."""


@dataclass(frozen=True)
class StudyFigures:
    """Gross rows of one point by one method in one window. `runs`: every run that entered; `point`, `arm`: the one that they are about."""

    study_id: str
    point: str | None
    arm: str | None
    method: str
    runs: frozenset[str]
    energy: list[Row]
    budget: list[Row]

    def phase(self, phase: str, records: Sequence[RunRecord]) -> Energy:
        """J a run of a phase of the total; `records`: runs of the study, for the names of their sensors."""
        row = next((row for row in self.energy if (row["domain"], row["phase"]) == ("total", phase)), None)
        if row is None:
            return Energy(None, method=self.method, reason="not_attributed")
        budget = [row for row in self.budget if (row["domain"], row["phase"]) == ("total", phase)]
        return energy_of(records[0], row, budget)

    def tokens(self, column: str, records: Sequence[RunRecord]) -> float | None:
        """Mean tokens of the runs at this point that entered; None where one of them is not known."""
        counts = [(record.performance or {}).get(column) for record in records if self.is_about(record) and record.run_id in self.runs]
        return (
            None if not counts or any(count is None for count in counts) else fmean(float(count) for count in counts if count is not None)
        )

    def is_about(self, record: RunRecord) -> bool:
        """Whether a run is one of the point whose figures these are; others entered to be subtracted."""
        return (record.run["study_id"], record.run["point"], record.run["arm"]) == (self.study_id, self.point, self.arm)


def figures_beside(bundles: Iterable[Path], studies: Iterable[str], window: str) -> list[StudyFigures]:
    """From `studies/<study_id>/` beside bundles. Raises BadBundle."""
    found: list[StudyFigures] = []
    for parent in dict.fromkeys(bundle.parent for bundle in bundles):
        for study in sorted(set(studies)):
            folder = parent / STUDIES / study
            tables = {name: read_table(folder, name) if folder.is_dir() else None for name in TABLES}
            rows = {name: [] if table is None else table.to_pylist() for name, table in tables.items()}
            found += _figures(study, rows, window)
    return found


def figures_of_database(database: Path, studies: Iterable[str], window: str) -> list[StudyFigures]:
    """From the tables `study_energy` and `study_budget`. Raises BadInput."""
    found: list[StudyFigures] = []
    for study in sorted(set(studies)):
        where = f"study_id = {quoted(study)} AND basis = 'gross' AND \"window\" = {quoted(window)}"
        rows = {name: query(database, f"SELECT * FROM study_{name} WHERE {where}").to_pylist() for name in TABLES}
        found += _figures(study, rows, window)
    return found


def _figures(study: str, tables: dict[str, list[Row]], window: str) -> list[StudyFigures]:
    groups: dict[tuple[str | None, str | None, str], dict[str, list[Row]]] = {}
    for name, rows in tables.items():
        for row in rows:
            if row["window"] == window and row["basis"] == "gross":
                groups.setdefault((row["point"], row["arm"], row["method"]), {table: [] for table in TABLES})[name].append(row)
    return [
        StudyFigures(study, point, arm, method, _runs(rows["energy"]), rows["energy"], rows["budget"])
        for (point, arm, method), rows in groups.items()
    ]


def _runs(rows: Sequence[Row]) -> frozenset[str]:
    parameters = json.loads(rows[0]["parameters"] or "{}") if rows else {}
    named = parameters.get(RUNS) if isinstance(parameters, dict) else None
    return frozenset(str(run) for run in named) if isinstance(named, list) else frozenset()
