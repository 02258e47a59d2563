"""Hook specifications: each docstring says when the hook is called, in which process, and what may be returned.

A hook is added only together with a plugin that uses it. A listener may take fewer arguments than the specification has.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tpb_core.hooks.marks import hookspec
from tpb_core.hooks.values import DoctorCheck, ReportColumn


@hookspec
def run_started(point: Any) -> None:
    """Called in the session process when the bundle's folder exists and before any meter or engine is started.

    `point` is a `tpb_core.config.schema.Point`; changing it changes nothing.
    """


@hookspec
def bundle_complete(bundle: Path) -> None:
    """Called in the session process when all inputs of the bundle are final (Parquet, manifest) and before attribution.

    The place to add files of one's own, whose names start with `x_`. Not called for runs that were killed.
    """


@hookspec
def run_finished(bundle: Path) -> None:
    """Called in the session process after attribution, as the last thing that happens to a run, also when it failed."""


@hookspec
def report_columns(bundle: Path) -> list[ReportColumn]:
    """Called when the table of a run is printed, in the process that prints. Returns further figures, or an empty list."""
    return []


@hookspec
def doctor_checks() -> list[DoctorCheck]:
    """Called by `tpb doctor`, in its process. Takes at most a few seconds and changes nothing on the machine."""
    return []
