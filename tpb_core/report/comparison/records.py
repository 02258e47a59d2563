"""What a comparison needs of a run, read from its bundle or from the database: one class for both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from tpb_core.api.channel import LEDGER_KINDS
from tpb_core.api.errors import BadInput
from tpb_core.store.bundle import Bundle
from tpb_core.store.database_rows import rows_of
from tpb_core.store.query import query

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
FIGURES = ("runs", "channels", "performance", "scope_energy", "energy", "budget")
"""Tables behind figures of whole windows."""
WITH_REQUESTS = (*FIGURES, "requests")
_OF_WINDOW = ("performance", "scope_energy", "energy", "budget")
_GROSS = ("energy", "budget")


@dataclass(frozen=True)
class RunRecord:
    """One run in one window; gross energies. Rows have the columns of the database tables of the same names."""

    run: Row
    manifest: Mapping[str, Any]
    channels: list[Row]
    performance: Row | None
    scope_energy: dict[str, Row]
    energy: list[Row]
    budget: list[Row]
    requests: list[Row]
    """Measured requests; empty where they were not asked for."""

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return str(self.run["run_id"])

    @property
    def simulated(self) -> bool:
        """Virtual time, or a simulated sensor: never stands beside real runs unasked."""
        return bool(self.run["virtual"]) or any(row["evidence"] == "simulated" for row in self.scope_energy.values())

    @property
    def bundle(self) -> Path | None:
        """The folder of the run, where it is still there."""
        folder = Path(self.run["bundle"])
        return folder if (folder / "manifest.json").is_file() else None

    @property
    def machine(self) -> str | None:
        """What tells machines apart: the machine id, else the host name."""
        environment = self.manifest.get("environment") or {}
        found = environment.get("machine_id") or self.run["hostname"]
        return None if found is None else str(found)

    def givers(self, domains: Iterable[str]) -> list[Row]:
        """The channels that give energy in the domains; for `total`, those of everything that the run uses."""
        wanted = set(domains)
        return [
            row
            for row in self.channels
            if row["kind"] in LEDGER_KINDS
            and row["role"] in ("primary", "part")
            and (row["domain"] in wanted or ("total" in wanted and row["allocated"]))
        ]


def record_of_bundle(path: Path, window: str, tables: Sequence[str] = FIGURES) -> RunRecord:
    """A run from its bundle. Raises BadBundle."""
    rows = rows_of(Bundle.open(path))
    kept: dict[str, list[Row]] = {}
    for table in WITH_REQUESTS:
        content = rows.get(table) if table in tables else None
        kept[table] = [] if content is None else _of_window(table, content, window).to_pylist()
    return _record(kept, window)


def records_of_database(database: Path, run_ids: Sequence[str], window: str, tables: Sequence[str] = FIGURES) -> list[RunRecord]:
    """Runs from the database, in the order of `run_ids`. Raises BadInput."""
    listed = ", ".join(quoted(run_id) for run_id in run_ids)
    found: dict[str, dict[str, list[Row]]] = {run_id: {table: [] for table in WITH_REQUESTS} for run_id in run_ids}
    for table in tables if run_ids else ():
        conditions = [f"run_id IN ({listed})"]
        conditions += [f'"window" = {quoted(window)}'] * (table in _OF_WINDOW) + ["basis = 'gross'"] * (table in _GROSS)
        for row in query(database, f'SELECT * FROM "{table}" WHERE {" AND ".join(conditions)}').to_pylist():
            found[row["run_id"]][table].append(row)
    return [_record(rows, window) for rows in found.values() if rows["runs"]]


def _of_window(table: str, content: pa.Table, window: str) -> pa.Table:
    if table in _OF_WINDOW:
        content = content.filter(pc.equal(content["window"], window))
    return content.filter(pc.equal(content["basis"], "gross")) if table in _GROSS else content


def _record(rows: dict[str, list[Row]], window: str) -> RunRecord:
    run = rows["runs"][0]
    manifest = json.loads(run["manifest"])
    return RunRecord(
        run,
        manifest if isinstance(manifest, dict) else {},
        rows["channels"],
        next(iter(rows["performance"]), None),
        {row["scope"]: row for row in rows["scope_energy"]},
        rows["energy"],
        rows["budget"],
        [row for row in rows["requests"] if row["role"] != "warmup"],
    )


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    if "\0" in text:
        raise BadInput("a NUL character cannot be part of a name.", "Type: tpb sql 'select run_id from runs'")
    return "'" + text.replace("'", "''") + "'"
