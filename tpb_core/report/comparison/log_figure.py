"""A figure on the logarithmic scale: ln of a positive value with its relative, signed contributions to the uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Key = tuple[str, str]
"""(term, source) of the budget: equal keys add with their sign, all others in quadrature."""


@dataclass(frozen=True)
class Part:
    """One contribution to ln y, signed and relative (du / y); degrees of freedom (None: many); whether it is a calibration error."""

    du: float
    dof: float | None = None
    calibration: bool = False


@dataclass(frozen=True)
class LogFigure:
    """ln y of one run.

    `stated` is False where nothing at all is known of its uncertainty, `calibrated` where the gain or offset of a sensor in it is not.
    """

    log: float
    parts: Mapping[Key, Part] = field(default_factory=dict)
    stated: bool = True
    calibrated: bool = True


def log_figure(
    joules: float, count: float, terms: Iterable[tuple[Key, Part]], *, stated: bool = True, calibrated: bool = True
) -> LogFigure | None:
    """ln(joules / count) with its budget: d ln y = du / joules, because the count is exact.

    Parts with equal keys are added. None where the logarithm does not exist (an energy that is not positive, as net figures can be).
    """
    if not (joules > 0 and count > 0):
        return None
    parts: dict[Key, Part] = {}
    for key, part in terms:
        before = parts.get(key)
        du = part.du / joules + (before.du if before else 0.0)
        parts[key] = Part(du, fewer(part.dof, before.dof if before else None), part.calibration)
    return LogFigure(math.log(joules / count), parts, stated, calibrated)


def weighted(figures: Sequence[LogFigure], weights: Sequence[float]) -> dict[Key, tuple[Part, int]]:
    """The budget of a weighted sum of logarithms, and in how many of the figures each key occurs."""
    sums: dict[Key, tuple[Part, int]] = {}
    for figure, weight in zip(figures, weights, strict=True):
        for key, part in figure.parts.items():
            before, count = sums.get(key, (Part(0.0), 0))
            dof = fewer(part.dof, before.dof if count else None)
            sums[key] = Part(before.du + weight * part.du, dof, part.calibration), count + 1
    return sums


def fewer(first: float | None, second: float | None) -> float | None:
    """The smaller number of degrees of freedom; None stands for many."""
    known = [dof for dof in (first, second) if dof is not None]
    return min(known) if known else None
