"""One run from the first folder to the attributed bundle: the session owns the clock, the windows and the order of things."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tpb_core.api.codes import EventCode
from tpb_core.api.errors import BadInput, Interrupted, MeasurementFailed, Refused, TpbError
from tpb_core.config.schema import Point
from tpb_core.hooks import Hooks
from tpb_core.run.attribution import AttributionReport, attribute_bundle
from tpb_core.run.characterise.loads import Load
from tpb_core.run.characterise.schedule import Part
from tpb_core.run.characterise.switched_run import SwitchedRun
from tpb_core.run.engine_shelf import EngineShelf
from tpb_core.run.interruption import Interruption
from tpb_core.run.machine_lock import MachineLock
from tpb_core.run.measurement import Measurement, check_load
from tpb_core.run.observation import Observation, Subject
from tpb_core.run.progress import Progress, Silent
from tpb_core.run.stages import Stages
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
    measurement = Measurement(point, bundle, run_id, study or lone_study(run_id, point), progress, shelf, clock)
    return _carry_out(measurement, progress)


def observe(point: Point, subject: Subject, *, slice_s: float | None = None, progress: Progress | None = None) -> RunResult:
    """Measure a program or a server that is only watched, with the meters of `point`; its engine and load are not used.

    Results, refusals and errors as in `run_point`.
    """
    progress = progress or Silent()
    run_id = new_run_id()
    bundle = _make_folder(Path(point.out.dir), run_id)
    with Interruption() as interruption, MachineLock(wait=True, notice=progress.note, interruption=interruption):
        observation = Observation(point, bundle, run_id, subject, progress, interruption, slice_s)
        return _carry_out(observation, progress)


def observe_switched(point: Point, load: Load, schedule: Sequence[Part], *, progress: Progress | None = None) -> RunResult:
    """Measure while a load is switched as scheduled; one slice of `measure` for each part. Results and errors as in `run_point`."""
    progress = progress or Silent()
    run_id = new_run_id()
    bundle = _make_folder(Path(point.out.dir), run_id)
    with Interruption() as interruption, MachineLock(wait=True, notice=progress.note, interruption=interruption):
        return _carry_out(SwitchedRun(point, bundle, run_id, load, schedule, progress, interruption), progress)


def lone_study(run_id: str, point: Point) -> dict[str, Any]:
    """The manifest key `study` of a run that belongs to none."""
    return {"study_id": run_id, "point": point.point, "arm": "0", "repeat": 0, "order": 0}


def _carry_out(stages: Stages, progress: Progress) -> RunResult:
    hooks = Hooks.of_installed_plugins(lambda fault: stages.note_event(EventCode.HOOK_FAILED, fault.what))
    hooks.run_started(stages.point)
    status, error = _measure(stages)
    if status == "discarded":
        shutil.rmtree(stages.bundle, ignore_errors=True)
        assert error is not None
        raise error
    hooks.report_fault = lambda fault: progress.note("\n".join(fault.lines()))
    report = AttributionReport()
    try:
        finish_bundle(stages.bundle, status=status, status_reason=_reason(error))
    except OSError as full:
        return RunResult(stages.bundle, stages.run_id, "running", error or _cannot_write(full), report)
    if status == "complete":
        hooks.bundle_complete(stages.bundle)
    progress.window("attribution")
    try:
        report = attribute_bundle(stages.bundle, stages.point.attributors)
    except TpbError as fault:
        error = error or fault
    except OSError as full:
        error = error or _cannot_write(full)
    hooks.run_finished(stages.bundle)
    return RunResult(stages.bundle, stages.run_id, status, error, report)


def _measure(stages: Stages) -> tuple[str, TpbError | None]:
    """Run the measurement to its end, good or bad; returns the status of the bundle and what went wrong."""
    error: TpbError | None = None
    try:
        stages.run()
    except (BadInput, Refused) as wrong:
        error = wrong
        if not stages.measuring:
            stages.abandon(wrong)
            return "discarded", error
    except TpbError as wrong:
        error = wrong
    except OSError as wrong:
        error = _cannot_write(wrong)
    except KeyboardInterrupt:
        error = Interrupted("interrupted twice", "What reached the disk is kept.")
    status = "complete" if error is None else "partial" if stages.measuring or isinstance(error, Interrupted) else "failed"
    stages.end(error)
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


def _cannot_write(error: OSError) -> MeasurementFailed:
    fix = "Free some space or move the results with out.dir=; what was written is kept, and `tpb ingest` finishes it."
    return MeasurementFailed(f"the results cannot be written: {error.strerror or error}", fix)


def _reason(error: TpbError | None) -> str | None:
    return None if error is None else f"{type(error).__name__}: {error.what}"
