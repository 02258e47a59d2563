"""The four outputs of attribution as tables: permitted words, keys that are there once, and the invariants on joules."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tpb_core.api.channel import EVIDENCE
from tpb_core.api.codes import Reason
from tpb_core.api.errors import BadBundle
from tpb_core.api.ledger import BASES, PHASES
from tpb_core.store.tables import first, refuse_unless_among

_REASONS = tuple(reason.value for reason in Reason)
_PERMITTED: dict[str, tuple[str, ...]] = {
    "phase": PHASES,
    "basis": BASES,
    "evidence": EVIDENCE,
    "ci_kind": ("within_run", "between_runs", "span"),
    "derivation": ("metered", "apportioned", "modelled"),
}
KEYS = {
    "energy": ("window", "domain", "phase", "method", "basis"),
    "request_energy": ("request", "window", "domain", "method", "basis"),
}
"""What makes a row of an output unique; in a study's folder `point` and `arm` come on top."""


def check_output(table: str, content: pa.Table | None) -> None:
    """Refuse an output with a word that the format does not know, a NULL without a reason or a key that is there twice."""
    if content is None:
        return
    file = f"{table}.parquet"
    for name, permitted in _PERMITTED.items():
        if name in content.column_names:
            refuse_unless_among(content[name], permitted, file, name)
    if "reason" in content.column_names and table != "validity":
        refuse_unless_among(content["reason"], _REASONS, file, "reason", own_allowed=True)
    if table == "energy":
        row = first(pc.and_(pc.is_null(content["joules"]), pc.is_null(content["reason"])))
        if row >= 0:
            raise BadBundle("is NULL without a reason", file=file, column="joules", row=row)
    if table in KEYS:
        _refuse_repeated(content, [*KEYS[table], "point", "arm"], file)


def _refuse_repeated(content: pa.Table, key: list[str], file: str) -> None:
    rows = content.select(key).append_column("row", pa.array(range(content.num_rows), pa.int64()))
    groups = rows.group_by(key).aggregate([("row", "count"), ("row", "max")])
    twice = groups["row_count"].to_numpy() > 1
    if twice.any():
        row = int(groups["row_max"].to_numpy()[twice].min())
        names = ", ".join(str(content[name][row].as_py()) for name in key if content[name][row].as_py() is not None)
        raise BadBundle(f"the row of {names} is there twice", file=file, row=row)
