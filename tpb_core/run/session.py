"""One run from the first folder to the attributed bundle: the session owns the clock, the windows and the order of things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpb_core.api.codes import EventCode
from tpb_core.api.errors import BadInput, Interrupted, MeasurementFailed, Refused, TpbError
from tpb_core.config.schema import Point
from tpb_core.hooks import Hooks
from tpb_core.run.attribution import AttributionReport, attribute_bundle
from tpb_core.run.engine_shelf import EngineShelf
from tpb_core.run.measurement import Measurement, check_load
from tpb_core.run.progress import Progress, Silent
from tpb_core.store.finish import finish_bundle
from tpb_core.store.manifest import new_run_id


@dataclass(frozen=True)
class RunResult:
    """What became of one run. `error` is why it is not complete; what was measured is in the bundle all the same."""

    bundle: Path
    run_id: str
    status: str
    error: TpbError | None
    attribution: AttributionReport


def run_point(
    point: Point, *, study: dict[str, Any] | None = None, progress: Progress | None = None, shelf: EngineShelf | None = None
) -> RunResult:
    """Measure one point once, in this process; returns when the bundle is finished and attributed.

    `study` is the manifest key of that name; None is a study of one. Raises `BadInput` and `Refused` for what shows before anything was
    measured (nothing is left behind then); whatever happens later is in the result, with the bundle that was saved.
    """
    if shelf is None:
        with EngineShelf() as own:
            return run_point(point, study=study, progress=progress, shelf=own)
    progress = progress or Silent()
    check_load(point)
    clock = shelf.clock_for(point)
    run_id = new_run_id()
    bundle = _make_folder(Path(point.out.dir), run_id)
    hooks = Hooks.of_installed_plugins()
    hooks.run_started(point)
    lone_study = {"study_id": run_id, "point": point.point, "arm": "0", "repeat": 0, "order": 0}
    measurement = Measurement(point, bundle, run_id, study or lone_study, progress, shelf, clock)
    hooks.report_fault = lambda fault: measurement.note_event(EventCode.HOOK_FAILED, fault.what)
    status, error = _measure(measurement)
    if status == "discarded":
        _remove(bundle)
        assert error is not None
        raise error
    finish_bundle(bundle, status=status, status_reason=_reason(error))
    if status == "complete":
        hooks.bundle_complete(bundle)
    progress.window("attribution")
    report = AttributionReport()
    try:
        report = attribute_bundle(bundle, point.attributors)
    except TpbError as fault:
        error = error or fault
    hooks.run_finished(bundle)
    return RunResult(bundle, run_id, status, error, report)


def _measure(measurement: Measurement) -> tuple[str, TpbError | None]:
    """Run the measurement to its end, good or bad; returns the status of the bundle and what went wrong."""
    error: TpbError | None = None
    try:
        measurement.run()
    except (BadInput, Refused) as wrong:
        error = wrong
        if not measurement.measuring:
            measurement.abandon()
            return "discarded", error
    except TpbError as wrong:
        error = wrong
    except OSError as wrong:
        error = MeasurementFailed(
            f"the results cannot be written: {wrong.strerror or wrong}",
            "Free some space or move the results with out.dir=; what was written is kept.",
        )
    except KeyboardInterrupt:
        error = Interrupted("interrupted twice", "What reached the disk is kept.")
    status = "complete" if error is None else "partial" if measurement.measuring or isinstance(error, Interrupted) else "failed"
    measurement.end(error)
    return status, error


def _make_folder(out: Path, run_id: str) -> Path:
    bundle = out / run_id
    try:
        bundle.mkdir(parents=True)
        (bundle / "spool").mkdir()
    except OSError as error:
        raise BadInput(
            f"out.dir={out}: no results can be written there ({error.strerror})",
            "Name a folder of yours, for example out.dir=$HOME/tpb-runs",
        ) from error
    return bundle


def _remove(bundle: Path) -> None:
    import shutil

    shutil.rmtree(bundle, ignore_errors=True)


def _reason(error: TpbError | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error.what}"
