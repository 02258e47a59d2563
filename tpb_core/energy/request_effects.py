"""What makes each request's energy uncertain: effects of the phases' terms, scatter of its own steps, spread of its shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tpb_core.energy.figures import Figure, Key
from tpb_core.energy.intervals import coverage_factor
from tpb_core.energy.request_shares import Shares

Floats = npt.NDArray[np.float64]


@dataclass
class RequestEffects:
    """Signed effects in joules on each of `size` rows (nobody last), by term and phase, and variances that belong to a row alone."""

    size: int
    _signed: dict[Key, dict[str, Floats]] = field(default_factory=dict)
    _dof: dict[Key, float] = field(default_factory=dict)
    _calibration: set[Key] = field(default_factory=set)
    _alone: dict[str, list[tuple[Floats, float | None]]] = field(default_factory=dict)

    def add_figure(self, phase: str, figure: Figure, gross: Figure, shares: Shares, rows: npt.NDArray[np.int64]) -> None:
        """What a domain's phase owes its terms, passed on by shares; pure and mixed steps apart where they are known apart."""
        share = np.append(shares.share[rows], shares.rest)
        for term, contribution in figure.terms.items():
            effect = share * contribution.du_j
            if shares.within is not None:
                pure = shares.within.figure.terms.get(term)
                pure_j = pure.du_j if pure is not None else 0.0
                mixed_j = (gross.terms[term].du_j if term in gross.terms else 0.0) - pure_j
                chosen = np.append(rows, -1)
                effect = effect + (shares.within.pure[chosen] - share) * pure_j + (shares.within.mixed[chosen] - share) * mixed_j
            by_phase = self._signed.setdefault(term, {})
            by_phase[phase] = by_phase.get(phase, np.zeros(self.size)) + effect
            if contribution.calibration:
                self._calibration.add(term)
            if contribution.dof is not None:
                self._dof[term] = min(contribution.dof, self._dof.get(term, np.inf))

    def add_common(self, term: Key, phase: str, effect_j: Floats) -> None:
        """What the phases of a request have in common, in J; nobody has none."""
        by_phase = self._signed.setdefault(term, {})
        by_phase[phase] = by_phase.get(phase, np.zeros(self.size)) + np.append(effect_j, 0.0)

    def add_alone(self, phase: str, variance_j2: Floats, dof: float | None) -> None:
        """Variances of the requests' own, in J^2; nobody has none."""
        self._alone.setdefault(phase, []).append((np.append(variance_j2, 0.0), dof))

    def u_j(self, phases: Iterable[str], *, calibration: bool) -> Floats:
        """Standard uncertainty of the sum of some phases, joules."""
        squares = self._squares(tuple(phases), calibration=calibration)
        return np.asarray(np.sqrt(sum((square for square, _ in squares), np.zeros(self.size))))

    def coverage_factors(self, phases: Iterable[str]) -> Floats:
        """k of a 95 % interval within the rig for each row, by Student's t and the Welch-Satterthwaite degrees of freedom."""
        variance, few = np.zeros(self.size), np.zeros(self.size)
        for square, dof in self._squares(tuple(phases), calibration=False):
            variance += square
            few += square**2 / dof if dof is not None else 0.0
        effective = np.round(np.where(few > 0, variance**2 / np.where(few > 0, few, 1.0), np.inf), 1)
        each, place = np.unique(effective, return_inverse=True)
        return np.asarray(np.array([coverage_factor(float(value) if np.isfinite(value) else None) for value in each])[place])

    def _squares(self, phases: tuple[str, ...], *, calibration: bool) -> Iterable[tuple[Floats, float | None]]:
        """Of each term the squared signed sum over phases, and of each variance of a row's own; with their degrees of freedom."""
        for term, by_phase in self._signed.items():
            if calibration or term not in self._calibration:
                yield sum((by_phase[phase] for phase in phases if phase in by_phase), np.zeros(self.size)) ** 2, self._dof.get(term)
        for phase in phases:
            yield from self._alone.get(phase, [])
