"""reported.parquet: totals that an imported source states without samples. Checked when a bundle is opened."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tpb_core.api.channel import SCOPES
from tpb_core.api.errors import BadBundle
from tpb_core.api.ledger import PHASES
from tpb_core.store.tables import first, read_table, refuse_unless_among

FILE = "reported.parquet"
TOTAL = "total"
STATED = tuple(phase for phase in PHASES if phase != "unattributed")
"""Phases that a source may state; what they leave of the total is computed."""


def read_reported(bundle: Path, windows: Iterable[str]) -> pa.Table | None:
    """The table, or None where there is none. Raises BadBundle with column and row for what cannot be an energy of this run.

    Each row is one phase of one domain in one window, once. Phases need the total of their domain: without it nobody knows what is left.
    """
    table = read_table(bundle, "reported")
    if table is None:
        return None
    refuse_unless_among(table["window"], tuple(windows), FILE, "window")
    refuse_unless_among(table["phase"], STATED, FILE, "phase")
    refuse_unless_among(table["scope"], SCOPES, FILE, "scope")
    for name in ("u_without_calibration_j", "u_total_j"):
        if (row := first(pc.fill_null(pc.less(table[name], 0.0), False))) >= 0:
            raise BadBundle("an uncertainty below zero", file=FILE, column=name, row=row)
    seen: dict[tuple[str, str, str], int] = {}
    totals: set[tuple[str, str]] = set()
    keys = list(zip(*(table[name].to_pylist() for name in ("window", "domain", "phase")), strict=True))
    for row, key in enumerate(keys):
        if key in seen:
            raise BadBundle(f"the {key[2]} of {key[1]} in {key[0]} is there twice", file=FILE, column="phase", row=row)
        seen[key] = row
        if key[2] == TOTAL and table["joules"][row].is_valid:
            totals.add(key[:2])
    for (window, domain, phase), row in seen.items():
        if phase != TOTAL and table["joules"][row].is_valid and (window, domain) not in totals:
            raise BadBundle(
                f"{phase} of {domain} in {window} without its total",
                file=FILE,
                column="phase",
                row=row,
                fix="Add a row with phase total for that domain and window.",
            )
    return table
