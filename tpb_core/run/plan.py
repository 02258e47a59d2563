"""What is going to be measured, and in which order: points x repeats, without what is finished already."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tpb_core.config.schema import Point
from tpb_core.store.manifest import new_run_id

ARM = "0"
"""The only arm of a plan without a comparison in it."""

_RESUMABLE = ("sweep-", "experiment-")
"""Beginnings of the ids of studies whose finished runs are not done again. A plain `tpb` always measures."""


class Key(NamedTuple):
    """What a run is known by within all studies of an output folder."""

    point: str
    arm: str
    repeat: int


@dataclass(frozen=True)
class Slot:
    """One run that the plan wants. `order` is its place in the whole plan, finished runs included."""

    point: Point
    repeat: int
    order: int
    arm: str = ARM

    @property
    def key(self) -> Key:
        """What it is known by."""
        return Key(self.point.point, self.arm, self.repeat)


@dataclass(frozen=True)
class Plan:
    """A study before it runs. `finished` maps runs that need not be done again to their bundles."""

    study_id: str
    slots: list[Slot]
    finished: dict[Key, Path] = field(default_factory=dict)

    @property
    def open_slots(self) -> list[Slot]:
        """What is left to do, in order."""
        return [slot for slot in self.slots if slot.key not in self.finished]

    def study_of(self, slot: Slot) -> dict[str, Any]:
        """The manifest key `study` of a run."""
        return {"study_id": self.study_id, **slot.key._asdict(), "order": slot.order}


def make_plan(points: Sequence[Point], *, multirun: bool, rerun: bool = False) -> Plan:
    """The plan over composed points. Points that are equal but for output and plan are one point.

    `rerun` (or `run.rerun=true`) measures finished ones again, as a study of its own.
    """
    distinct = list({point.point: point for point in points}.values())
    first = distinct[0]
    rerun = rerun or first.run.rerun
    experiment = first.choices.get("experiment")
    slots = [Slot(point, repeat, order) for order, (point, repeat) in enumerate(_in_order(distinct))]
    digest = hashlib.sha256("".join(sorted(point.point for point in distinct)).encode()).hexdigest()[:10]
    again = f"-{new_run_id()}" if rerun else ""
    if experiment:
        name = experiment if isinstance(experiment, str) else "-".join(experiment)
        study_id = f"experiment-{name}-{digest}{again}"
    elif multirun:
        study_id = f"sweep-{digest}{again}"
    else:
        return Plan(f"run-{new_run_id()}", slots)
    return Plan(study_id, slots, {} if rerun else finished_runs(Path(first.out.dir), {slot.key for slot in slots}))


def _in_order(points: Sequence[Point]) -> list[tuple[Point, int]]:
    """Points with the number of their repeat, in the order of `run.order`.

    `random`: a random order within each repeat (randomised blocks, so that drift falls on all points alike). `abba`: forth and back in
    turn. `sequential`: all repeats of a point before the next. Where the engine is kept, points of one engine stay together.
    """
    run = points[0].run
    if run.order == "sequential":
        ordered = [(point, repeat) for point in points for repeat in range(point.run.repeats)]
    else:
        draw = random.Random(run.seed)
        ordered = []
        for repeat in range(max(point.run.repeats for point in points)):
            block = [point for point in points if repeat < point.run.repeats]
            if run.order == "random":
                draw.shuffle(block)
            elif repeat % 2 == 1:
                block.reverse()
            ordered += [(point, repeat) for point in block]
    return _engines_together(ordered) if run.isolation == "engine" else ordered


def _engines_together(ordered: Iterable[tuple[Point, int]]) -> list[tuple[Point, int]]:
    groups: dict[str, list[tuple[Point, int]]] = {}
    for point, repeat in ordered:
        groups.setdefault(json.dumps(point.engine, sort_keys=True, default=str), []).append((point, repeat))
    return list(itertools.chain.from_iterable(groups.values()))


def finished_runs(out: Path, wanted: set[Key]) -> dict[Key, Path]:
    """Complete bundles in a folder that belong to a sweep or an experiment and to one of the wanted keys; the newest of each."""
    found: dict[Key, Path] = {}
    for path in sorted(out.glob("*/manifest.json")):
        try:
            manifest = json.loads(path.read_bytes())
            study = manifest["study"]
            key = Key(study["point"], str(study["arm"]), study["repeat"])
            complete = manifest["status"] == "complete" and study["study_id"].startswith(_RESUMABLE)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # somebody else's bundle, or one that is being written
        if complete and key in wanted:
            found[key] = path.parent
    return found


def slot_text(plan: Plan, slot: Slot) -> str:
    """What tells a run from the others of its plan: the words that differ, and the repeat."""
    everywhere = set.intersection(*(set(other.point.overrides) for other in plan.slots))
    words = [word for word in slot.point.overrides if word not in everywhere]
    repeats = f"repeat {slot.repeat + 1} of {slot.point.run.repeats}" if slot.point.run.repeats > 1 else ""
    return ", ".join(filter(None, [" ".join(words), repeats])) or slot.point.point
