"""A plan in words: what `--dry-run` prints, and what a study says before it begins."""

from __future__ import annotations

import sys
from pathlib import Path

from tpb_core import drivers
from tpb_core.cli.planned_level import planned_level
from tpb_core.cli.text_table import text_table
from tpb_core.run.duration import duration_text, expected_duration
from tpb_core.run.plan import Plan, Slot, slot_text


def print_plan(plan: Plan) -> None:
    """Every run in its order, what is finished, and how long the rest will take. Nothing is measured."""
    first = plan.slots[0].point
    rows = [
        (
            str(slot.order + 1),
            slot.point.point,
            str(slot.repeat + 1),
            "finished" if slot.key in plan.finished else _expected(slot),
            slot_text(plan, slot) if len(plan.slots) > 1 else " ".join(slot.point.overrides),
        )
        for slot in plan.slots
    ]
    print(f"Study {plan.study_id}: {_count(len(plan.slots), 'run')} ({first.run.order} order), results in {Path(first.out.dir)}/")
    print(_chosen(plan))
    print()
    print(text_table(rows, ("run", "point", "repeat", "expected", "what differs")))
    print()
    print(_how_long(plan))
    print("\n".join(planned_level([slot.point for slot in plan.slots])))
    print("Nothing was measured (--dry-run).")


def announce(plan: Plan) -> None:
    """On stderr: meters that had to be left out; and for studies how many runs, how many of them are finished, how long it takes."""
    for name, what in plan.slots[0].point.choices.get("meter_broken", {}).items():
        print(f"meter {name!r} is left out: {what}", file=sys.stderr)
    if len(plan.slots) == 1 and not plan.study_id.startswith("experiment-"):
        return
    print(_how_long(plan), file=sys.stderr)


def _how_long(plan: Plan) -> str:
    left = plan.open_slots
    finished = len(plan.slots) - len(left)
    done = f" {finished} of {len(plan.slots)} are finished already (again: --rerun)." if finished else ""
    if not left:
        return f"All {_count(len(plan.slots), 'run')} are finished already. Measure them again:  --rerun"
    if all(_simulated(slot) for slot in left):
        return f"{_count(len(left), 'run')} to do, in simulated time.{done}"
    duration = expected_duration(left)
    unknown = "" if duration.exact else ", and what loading, warm-up and requests take"
    return f"{_count(len(left), 'run')} to do, {duration_text(duration)}{unknown}.{done}"


def _expected(slot: Slot) -> str:
    return "simulated" if _simulated(slot) else duration_text(expected_duration([slot]))


def _simulated(slot: Slot) -> bool:
    """Whether the run takes simulated time, of which hours cost seconds."""
    engine = slot.point.engine
    return engine.get("python") is None and bool(drivers.load("tpb.engines", engine["name"]).capabilities.virtual_time)


def _chosen(plan: Plan) -> str:
    """The choices that all runs share."""
    told = []
    for group in ("engine", "meter", "prompts", "load", "attributor"):
        values = {str(slot.point.choices.get(group)) for slot in plan.slots}
        if len(values) == 1:
            choice = plan.slots[0].point.choices.get(group)
            told.append(f"{group} {', '.join(choice) or 'none' if isinstance(choice, list) else choice}")
    return "; ".join(told)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
