"""Everything that the table of one run shows, read from its bundle through the views of the database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tpb_core.api.channel import LEDGER_KINDS
from tpb_core.store.manifest import read_manifest
from tpb_core.store.results import views_of

Row = dict[str, Any]


@dataclass(frozen=True)
class RunFacts:
    """One run: manifest, rows of `results` and `phases` of the window `measure`, validity, events, measured requests."""

    bundle: Path
    manifest: Row
    results: list[Row]
    phases: list[Row]
    balances: list[Row]
    """The rows of `energy_balance`, one a domain and method."""
    validity: list[Row]
    events: list[Row]
    level: Row
    """The row of `evidence_levels` for this run alone."""
    requests: list[Row]

    @classmethod
    def read(cls, bundle: Path) -> RunFacts:
        """Read a finished bundle. Raises `BadBundle`."""
        views = views_of([bundle], ["results", "phases", "energy_balance", "evidence_levels"])
        (level,) = views.pop("evidence_levels")
        results, phases, balances = ([row for row in rows if row["window"] == "measure"] for rows in views.values())
        return cls(
            bundle,
            read_manifest(bundle),
            results,
            phases,
            balances,
            _rows(bundle, "validity"),
            _rows(bundle, "events"),
            level,
            [row for row in _rows(bundle, "requests") if row["role"] != "warmup"],
        )

    def result(self, scope: str = "total") -> Row | None:
        """The row of a scope."""
        return next((row for row in self.results if row["scope"] == scope), None)

    @property
    def balance(self) -> Row | None:
        """The row of `energy_balance` for the total."""
        rows = [row for row in self.balances if row["domain"] == "total"]
        return min(rows, key=lambda row: row["evidence"] is None, default=None)

    def phase(self, phase: str, domain: str = "total") -> Row | None:
        """The row of a phase by the method that has a figure for it, else one that says why there is none."""
        rows = [row for row in self.phases if row["phase"] == phase and row["domain"] == domain]
        return min(rows, key=lambda row: (row["joules"] is None, _rank(row["method"])), default=None)

    @property
    def measured(self) -> bool:
        """Whether a sensor gave any energy, here or where an imported total comes from; estimates do not count."""
        reported = any(row["evidence"] == "reported" and row["joules"] is not None for row in self.results)
        return reported or any(c["kind"] in LEDGER_KINDS and c["evidence"] != "estimated" for c in self.manifest["channels"])

    @property
    def observed(self) -> bool:
        """Whether something was only watched, without requests of ours."""
        return bool(self.manifest["load"].get("shape") == "observed")

    @property
    def unavailable(self) -> list[Row]:
        """Meters that do not work here: `meter`, `reason`, `what`, `fix`."""
        found: list[Row] = self.manifest.get("x_unavailable_meters") or []
        return found

    def failed_gates(self) -> list[Row]:
        """Checks that make the run invalid."""
        return [row for row in self.validity if row["gate"] and row["passed"] is not True]

    def events_of(self, *codes: str) -> list[Row]:
        """Events with one of the codes."""
        return [row for row in self.events if row["code"] in codes]


def _rank(method: str) -> int:
    """Methods in the order in which a table prefers them: pure steps need no split rule; Shapley's is the default one."""
    order = ("disaggregated", "windowed", "steps/shapley", "steps/")
    return next((place for place, begin in enumerate(order) if method.startswith(begin)), len(order))


def _rows(bundle: Path, table: str) -> list[Row]:
    path = bundle / f"{table}.parquet"
    columns = None
    if not path.exists():
        return []
    if table == "requests":
        columns = [name for name in pq.read_schema(path).names if name != "token_ns"]
    found: list[Row] = pq.read_table(path, columns=columns).to_pylist()
    return found
