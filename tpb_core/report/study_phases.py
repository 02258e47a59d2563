"""What attributors of a whole study found: a line for each point, phase and method, with intervals between runs."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from rich.table import Table
from rich.text import Text

from tpb_core.report.rounding import MISSING, with_interval


def study_phases(folder: Path) -> Table | None:
    """Gross energy by phase from the study's own energy.parquet; None where the study has none."""
    path = folder / "energy.parquet"
    if not path.exists():
        return None
    rows = [row for row in pq.read_table(path).to_pylist() if row["basis"] == "gross" and row["domain"] == "total"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("point", "phase", "J a run", "95 % interval (between runs)", "method"):
        table.add_column(name, justify="right" if name == "J a run" else "left")
    for row in rows:
        if row["joules"] is None:
            value, interval = MISSING, f"not measured: {row['reason']}"
        else:
            value, interval = with_interval(row["joules"], row["ci_low_j"], row["ci_high_j"])
        table.add_row(*(Text(str(cell)) for cell in (row["point"] or "", row["phase"], value, interval, row["method"])))
    return table
