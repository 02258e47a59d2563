"""Carry out a plan: one run after the other, with the machine to ourselves, going on where an earlier start stopped."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.api.errors import Interrupted, TpbError
from tpb_core.run.engine_shelf import EngineShelf
from tpb_core.run.load import make_shape
from tpb_core.run.machine_lock import MachineLock
from tpb_core.run.plan import Plan, Slot, slot_text
from tpb_core.run.progress import Progress
from tpb_core.run.request_plan import longest_request_tokens
from tpb_core.run.session import RunResult, run_point
from tpb_core.run.stop_rule import Saturation, StopRule

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
    rule, saturation = StopRule(plan), Saturation(plan)
    for key, bundle in plan.finished.items():
        rule.take(key.point, bundle)
    if slots or rule.target is not None:
        keep = plan.slots[0].point.run.isolation == "engine"
        with _shelf_with_room(plan.slots) if keep else EngineShelf() as shelf, _machine(plan.slots, shelf, progress, wait):
            for slot in itertools.chain(slots, rule.more()):
                if slot.order >= len(plan.slots):
                    progress.note(f"One more for run.until_ci: {slot_text(plan, slot)}")
                elif len(plan.slots) > 1:
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
                rule.take(slot.point.point, result.bundle)
                if result.error is not None:
                    outcome.failures.append((slot, result.error))
                if after_run is not None:
                    after_run(slot, result)
                if isinstance(result.error, Interrupted):
                    break
                if (gain := saturation.reached(result.bundle)) is not None:
                    progress.note(
                        f"Saturated: {slot_text(plan, slot)} has {gain:+.1%} output tokens/s over the point before; the rest is left out."
                    )
                    break
    outcome.bundles = [bundles[order] for order in sorted(bundles)]
    return outcome


def _shelf_with_room(slots: list[Slot]) -> EngineShelf:
    """A shelf that keeps the engine, loaded with room for all points."""
    lengths = [longest_request_tokens(slot.point) for slot in slots]
    known = [length for length in lengths if length is not None]
    return EngineShelf(
        keep=True,
        max_concurrency=max(make_shape(slot.point.load).max_concurrency for slot in slots),
        max_context_tokens=max(known) if len(known) == len(lengths) else None,
    )


def _machine(slots: list[Slot], shelf: EngineShelf, progress: Progress, wait: bool) -> contextlib.AbstractContextManager[object]:
    """The machine for ourselves; a study of simulated worlds alone disturbs nobody."""
    if all(shelf.clock_for(slot.point).virtual for slot in slots):
        return contextlib.nullcontext()
    return MachineLock(wait=wait, notice=progress.note, interruption=shelf.interruption)
