"""The Pareto front of energy and speed, with ties: what beats another by less than its uncertainty does not beat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tpb_core.api.errors import BadInput
from tpb_core.report.comparison.ratio import Ratio
from tpb_core.report.comparison.records import RunRecord
from tpb_core.report.pareto.configurations import Configuration, told_apart

FRONT, TIE, BEATEN = "front", "tie", "beaten"
ENERGIES = {"token": ("output_tokens", "J per output token"), "request": ("requests", "J per request")}
SPEEDS = {
    "output_tokens_per_s": ("output tokens/s", True),
    "requests_per_s": ("requests/s", True),
    **{
        f"{name}_{of}_{unit}": (f"{name.upper() if name != 'latency' else name} {of}, {unit}", False)
        for name, unit in (("ttft", "ms"), ("tpot", "ms"), ("itl", "ms"), ("latency", "s"))
        for of in ("mean", "p50", "p90", "p95", "p99")
    },
}
"""Name -> (title, whether more is better)."""


@dataclass(frozen=True)
class Place:
    """A configuration with its energy and speed, and where it stands. `beaten_by` is the one that beats it or ties with it."""

    configuration: Configuration
    energy: Ratio
    speed: float
    standing: str
    beaten_by: Configuration | None = None


def speed_of(record: RunRecord, name: str) -> float | None:
    """A speed of a run's window by its name in `SPEEDS`."""
    performance = record.performance or {}
    if name.endswith("_per_s"):
        count, seconds = performance.get(name.removesuffix("_per_s")), performance.get("duration_s")
        return count / seconds if count is not None and seconds else None
    value = performance.get(name)
    return None if value is None else float(value)


def count_of(record: RunRecord, energy: str) -> float | None:
    """What the energy is divided by."""
    return (record.performance or {}).get(ENERGIES[energy][0])


def places(configurations: Sequence[Configuration], *, scope: str, energy: str, speed: str) -> tuple[list[Place], list[str]]:
    """Every configuration that has both figures, fastest first, and the labels of those that lack one.

    *front*: none has less energy and at least its speed. *tie*: one has, but their energies cannot be told apart. *beaten*: one has for
    certain. Raises BadInput where none is left.
    """

    def count(record: RunRecord) -> float | None:
        return count_of(record, energy)

    known: list[tuple[Configuration, Ratio, float]] = []
    lacking = []
    for each in configurations:
        value, fast = each.value(scope, count), each.mean(lambda record: speed_of(record, speed))
        if value is None or value.value is None or fast is None:
            lacking.append(each.label)
        else:
            known.append((each, value, fast))
    if not known:
        raise BadInput(f"no configuration has both {ENERGIES[energy][1]} and {speed}.", f"Other speeds: --speed {' | '.join(SPEEDS)}")
    more_is_better = SPEEDS[speed][1]
    found = []
    for one, value, fast in known:
        better = [
            (other, theirs)
            for other, theirs, speed_ in known
            if other is not one and _less(theirs, value) and (speed_ >= fast if more_is_better else speed_ <= fast)
        ]
        certain = [other for other, _ in better if told_apart(other, one, scope, count)]
        standing = BEATEN if certain else TIE if better else FRONT
        by = certain[0] if certain else min(better, key=lambda pair: pair[1].value or 0.0)[0] if better else None
        found.append(Place(one, value, fast, standing, by))
    return sorted(found, key=lambda place: (-place.speed if more_is_better else place.speed, place.energy.value or 0.0)), lacking


def _less(one: Ratio, other: Ratio) -> bool:
    return one.value is not None and other.value is not None and one.value < other.value
