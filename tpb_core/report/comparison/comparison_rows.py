"""A comparison as flat rows for CSV, JSON and Parquet. Numbers are not rounded."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tpb_core.report.comparison.comparison import Comparison
from tpb_core.report.comparison.ratio import Spread

_TEXT, _NUMBER, _COUNT = pa.string(), pa.float64(), pa.int64()
SCHEMA = pa.schema(
    [
        ("base", _TEXT), ("other", _TEXT), ("figure", _TEXT), ("unit", _TEXT), ("base_value", _NUMBER), ("other_value", _NUMBER),
        ("ratio", _NUMBER), ("ci_low", _NUMBER), ("ci_high", _NUMBER), ("dof", _NUMBER), ("ci_total_low", _NUMBER),
        ("ci_total_high", _NUMBER), ("total_dof", _NUMBER), ("ci_kind", _TEXT), ("paired", pa.bool_()), ("holds_one", pa.bool_()),
        ("verdict", _TEXT), ("method", _TEXT), ("base_runs", _COUNT), ("other_runs", _COUNT), ("reason", _TEXT),
    ]
)  # fmt: skip


def comparison_table(comparisons: Sequence[Comparison]) -> pa.Table:
    """One row a comparison and figure. `holds_one` is of the total interval; `reason` says why an interval or the ratio is NULL."""
    rows = []
    for comparison in comparisons:
        for line in comparison.lines:
            ratio = line.ratio
            low, high, dof = _ends(ratio.within)
            total_low, total_high, total_dof = _ends(ratio.total)
            rows.append(
                {
                    "base": comparison.base, "other": comparison.other, "figure": line.title, "unit": line.unit,
                    "base_value": line.base, "other_value": line.other, "ratio": ratio.value,
                    "ci_low": low, "ci_high": high, "dof": dof,
                    "ci_total_low": total_low, "ci_total_high": total_high, "total_dof": total_dof,
                    "ci_kind": ratio.kind, "paired": ratio.paired,
                    "holds_one": None if ratio.total is None else ratio.total.holds_one,
                    "verdict": comparison.verdict(line), "method": line.method,
                    "base_runs": len(comparison.base_runs), "other_runs": len(comparison.other_runs),
                    "reason": ratio.reason or ratio.total_reason or ratio.within_reason,
                }
            )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _ends(spread: Spread | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if spread is None else (spread.low, spread.high, spread.dof)
