"""Which level of evidence a plan allows by its repeats, their order, length and idle windows; the rest the runs must show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tpb_core.api.levels import DEMANDS, IDLE_S, LEVELS, RANDOMISED, Demands

if TYPE_CHECKING:
    from tpb_core.config.schema import Point


def planned_level(points: list[Point]) -> Iterator[str]:
    """The weakest of the plan's points decides. One line for what it can reach, and one for each thing that the next level lacks."""
    reached = LEVELS[0]
    for level, demands in DEMANDS.items():
        if lacking := list(dict.fromkeys(sentence for point in points for sentence in _lacks(point, demands))):
            yield f"Level of evidence that repeats, length and idle windows of this plan allow: {reached}. For {level} it lacks:"
            yield from (f"  {sentence}" for sentence in lacking)
            return
        reached = level
    yield f"Level of evidence that repeats, length and idle windows of this plan allow: {reached}"


def _lacks(point: Point, demands: Demands) -> Iterator[str]:
    run = point.run
    most = run.repeats if run.until_ci is None else max(run.repeats, run.max_repeats)
    if most < demands.repeats:
        yield f"{demands.repeats} repeats: run.repeats={demands.repeats}"
    if run.max_duration_s is not None and run.max_duration_s < demands.seconds:
        yield f"a measured window of {demands.seconds:g} s: run.max_duration_s={demands.seconds:g}"
    if demands.idle_windows and run.idle_s < IDLE_S:
        yield f"idle windows of {IDLE_S:g} s: run.idle_s={IDLE_S:g}"
    if not demands.any_order and run.order not in RANDOMISED:
        yield "repeats in a random order: run.order=random"
