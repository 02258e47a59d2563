"""A figure: an energy in joules with the signed contributions to its uncertainty. Sums and differences of figures propagate by key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tpb_core.energy.intervals import effective_dof


@dataclass(frozen=True)
class Term:
    """One signed standard contribution in joules, its degrees of freedom (None: many), and whether it is a calibration error."""

    du_j: float
    dof: float | None = None
    calibration: bool = False


Key = tuple[str, str]
"""(term, source): contributions with equal keys add with their sign, all others in quadrature."""


@dataclass(frozen=True)
class Figure:
    """An energy and its budget.

    `calibrated` is False where the gain or offset uncertainty of a sensor that entered is not known: `u_total_j` is then None.
    """

    joules: float
    terms: Mapping[Key, Term] = field(default_factory=dict)
    calibrated: bool = True

    def __add__(self, other: Figure) -> Figure:
        return self.plus(other, 1.0)

    def __sub__(self, other: Figure) -> Figure:
        return self.plus(other, -1.0)

    def plus(self, other: Figure, factor: float) -> Figure:
        """`self + factor * other`, equal keys combined with their sign."""
        terms = dict(self.terms)
        for key, term in other.terms.items():
            mine = terms.get(key)
            du = factor * term.du_j + (mine.du_j if mine else 0.0)
            dof = term.dof if mine is None else _fewer(mine.dof, term.dof)
            terms[key] = Term(du, dof, term.calibration)
        return Figure(self.joules + factor * other.joules, terms, self.calibrated and other.calibrated)

    def scaled(self, factor: float) -> Figure:
        """The figure times an exactly known factor."""
        terms = {key: Term(factor * term.du_j, term.dof, term.calibration) for key, term in self.terms.items()}
        return Figure(factor * self.joules, terms, self.calibrated)

    def with_term(self, term: str, source: str, du_j: float, *, dof: float | None = None, calibration: bool = False) -> Figure:
        """The figure with one more contribution; contributions of exactly zero are left out."""
        if du_j == 0.0:
            return self
        return self + Figure(0.0, {(term, source): Term(du_j, dof, calibration)})

    @property
    def u_without_calibration_j(self) -> float:
        """Standard uncertainty within the rig, joules."""
        return math.sqrt(sum(term.du_j**2 for term in self.terms.values() if not term.calibration))

    @property
    def u_total_j(self) -> float | None:
        """Standard uncertainty with calibration errors, joules; None where one of them is not known."""
        return math.sqrt(sum(term.du_j**2 for term in self.terms.values())) if self.calibrated else None

    def dof(self, *, calibration: bool) -> float | None:
        """Effective degrees of freedom of the within-rig (or, with `calibration`, the total) uncertainty; None: many."""
        return effective_dof([(term.du_j, term.dof) for term in self.terms.values() if calibration or not term.calibration])


def total_of(figures: list[Figure]) -> Figure:
    """The sum of figures; zero joules for an empty list."""
    result = Figure(0.0)
    for figure in figures:
        result = result + figure
    return result


def _fewer(first: float | None, second: float | None) -> float | None:
    known = [dof for dof in (first, second) if dof is not None]
    return min(known) if known else None
