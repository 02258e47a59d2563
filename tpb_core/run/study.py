"""Carry out a plan: one run after the other, with the machine to ourselves, going on where an earlier start stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.api.errors import BadInput, Interrupted, TpbError
from tpb_core.run.engine_shelf import EngineShelf
from tpb_core.run.load import make_shape
from tpb_core.run.machine_lock import MachineLock
from tpb_core.run.plan import Plan, Slot
from tpb_core.run.progress import Progress
from tpb_core.run.session import RunResult, run_point

AfterRun = Callable[[Slot, RunResult], None]


@dataclass
class StudyOutcome:
    """What became of a plan. `failures` are runs that were refused or left no complete bundle, in the order in which they happened."""

    bundles: list[Path] = field(default_factory=list)
    """Bundles of this start and of earlier ones, in the plan's order, partial ones included."""
    failures: list[tuple[Slot, TpbError]] = field(default_factory=list)


def run_study(plan: Plan, progress: Progress, *, wait: bool = True, after_run: AfterRun | None = None) -> StudyOutcome:
    """Measure what is open. A run that fails does not keep the others from being measured; an interruption ends the study.

    A plan of a single run raises what that run raises. `wait` False refuses where another measurement is under way on this machine.
    """
    bundles = {slot.order: plan.finished[slot.key] for slot in plan.slots if slot.key in plan.finished}
    outcome = StudyOutcome()
    slots = plan.open_slots
    if slots:
        keep = slots[0].point.run.isolation == "engine"
        room = max(make_shape(slot.point.load).max_concurrency for slot in slots) if keep else 1
        with EngineShelf(keep=keep, max_concurrency=room) as shelf, _machine(slots, shelf, progress, wait):
            for slot in slots:
                if len(plan.slots) > 1:
                    progress.note(f"Run {slot.order + 1} of {len(plan.slots)}: {slot_text(plan, slot)}")
                try:
                    shelf.interruption.check()
                    result = run_point(slot.point, study=plan.study_of(slot), progress=progress, shelf=shelf)
                except Interrupted as error:
                    outcome.failures.append((slot, error))
                    break
                except TpbError as error:
                    if len(plan.slots) == 1:
                        raise
                    progress.note("\n".join(error.lines()))
                    outcome.failures.append((slot, error))
                    continue
                bundles[slot.order] = result.bundle
                if result.error is not None:
                    outcome.failures.append((slot, result.error))
                if after_run is not None:
                    after_run(slot, result)
                if isinstance(result.error, Interrupted):
                    break
    outcome.bundles = [bundles[order] for order in sorted(bundles)]
    return outcome


def slot_text(plan: Plan, slot: Slot) -> str:
    """What tells a run from the others of its plan: the words that differ, and the repeat."""
    everywhere = set.intersection(*(set(other.point.overrides) for other in plan.slots))
    words = [word for word in slot.point.overrides if word not in everywhere]
    repeats = f"repeat {slot.repeat + 1} of {slot.point.run.repeats}" if slot.point.run.repeats > 1 else ""
    return ", ".join(filter(None, [" ".join(words), repeats])) or slot.point.point


def check_output_folder(folder: Path) -> None:
    """Make the folder of results and try to write in it, before anything heavy. Raises BadInput."""
    probe = folder / f".tpb-write-test-{id(folder)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(
            f"out.dir={folder}: no results can be written there ({error.strerror}).",
            "Name a folder of yours, for example:  out.dir=$HOME/tpb-runs",
        ) from error


def _machine(slots: list[Slot], shelf: EngineShelf, progress: Progress, wait: bool) -> contextlib.AbstractContextManager[object]:
    """The machine for ourselves; a study of simulated worlds alone disturbs nobody."""
    if all(shelf.clock_for(slot.point).virtual for slot in slots):
        return contextlib.nullcontext()
    return MachineLock(wait=wait, notice=progress.note, interruption=shelf.interruption)
