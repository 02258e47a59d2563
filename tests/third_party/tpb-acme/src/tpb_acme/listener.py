"""Acme listens to what happens to runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tpb_core.hooks import DoctorCheck, ReportColumn, hookimpl

_points: list[str] = []


@hookimpl
def run_started(point: Any) -> None:
    """Remembers what is measured."""
    _points.append(point.point)


@hookimpl
def bundle_complete(bundle: Path) -> None:
    """Leaves a note in the bundle."""
    (bundle / "x_acme.txt").write_text(f"points seen by acme: {' '.join(_points)}\n")


@hookimpl
def report_columns(bundle: Path) -> list[ReportColumn]:
    """One figure of our own."""
    return [ReportColumn("acme rating", "AAA")]


@hookimpl
def doctor_checks() -> list[DoctorCheck]:
    """One check of our own."""
    return [DoctorCheck("acme cloud", works=True, detail="reachable in principle")]
