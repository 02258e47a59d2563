"""The cost of a step: energy as a non-negative sum of terms of its work, fitted to what the meter resolves, with its alternatives.

Richer terms enter where held-out stretches say that they help. Every form that explains the readings about as well is kept: how far
their answers differ is the lack of fit. Nothing is rescaled to the meter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tpb_core.energy.blocks import Blocks
from tpb_core.energy.step_scatter import StepScatter
from tpb_core.energy.step_work import BASE, DRAFT, RICHER, TERMS, Work

Floats = npt.NDArray[np.float64]

MOST_RICHER = 3
LEAST_GAIN = 0.01
TOLERANCE = 0.02
"""Relative difference of held-out error at which an alternative counts exp(-1/2)."""


@dataclass(frozen=True)
class CostForm:
    """One form: its terms, coefficients, held-out error and credibility relative to the best (1)."""

    terms: tuple[str, ...]
    coefficients: Floats
    error: float
    credibility: float = 1.0

    def joules(self, work: Work, coefficients: Floats | None = None) -> Floats:
        """Energy of each step (or part), joules, static power included."""
        theta = self.coefficients if coefficients is None else coefficients
        total = np.zeros(len(work))
        for name, value in zip(self.terms, theta, strict=True):
            if value:
                total += value * TERMS[name](work)
        return total

    def member_costs(self, phase: str) -> tuple[float, float, float, float]:
        """What a token, a KV position read, a query-key pair, and a token beside each token of the same step cost in a phase, joules."""
        theta = dict(zip(self.terms, self.coefficients, strict=True))
        own = ("prefill", "prefill_kv", "pairs", "prefill_squared") if phase == "prefill" else ("decode", "kv", "", "decode_squared")
        return theta.get(own[0], 0.0), theta.get(own[1], 0.0), theta.get(own[2], 0.0), theta.get(own[3], 0.0)


@dataclass(frozen=True)
class CostModel:
    """The chosen form first, its alternatives after it, and of the chosen one `drawn` (times, terms) coefficients that are as likely, none
    negative, known with `dof`.

    `scatter`: that of steps about the chosen form. `errors` (readings x terms) is what the part that is left of each reading, whose middle
    is at `middle_s`, does to each coefficient; coefficients at 0 stay there.
    """

    forms: tuple[CostForm, ...]
    drawn: Floats
    dof: float = 1.0
    scatter: StepScatter | None = None
    errors: Floats = field(default_factory=lambda: np.zeros((0, 0)))
    middle_s: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def covariance(self) -> Floats:
        """(terms, terms) of the drawn coefficients about the chosen ones, which at 0 are the least that they may be."""
        off = self.drawn - self.chosen.coefficients
        return np.asarray(off.T @ off / len(off))

    @property
    def chosen(self) -> CostForm:
        """The form that held-out stretches prefer."""
        return self.forms[0]


def fit_costs(blocks: Blocks, terms: list[str], others: int, times: int, rng: np.random.Generator) -> CostModel:
    """Choose terms by held-out error. `blocks` has `others` columns (idle, outside) and then one for each of `terms`."""
    place = {name: others + k for k, name in enumerate(terms)}
    always = list(range(others))

    def tried(chosen: tuple[str, ...]) -> tuple[CostForm, Floats]:
        part = blocks.of([*always, *(place[name] for name in chosen)])
        errors = part.held_out()
        error = float(errors.mean()) if len(errors) else float(part.misfit(part.fit()).sum() / max(part.count.sum(), 1e-30))
        return CostForm(chosen, part.fit()[others:], error), errors

    best, folds = tried(tuple(name for name in (*BASE, *DRAFT) if name in place))
    forms = {best.terms: best}
    for _ in range(MOST_RICHER):
        found = None
        for name in RICHER:
            if name in place and name not in best.terms:
                form, errors = tried((*best.terms, name))
                forms[form.terms] = form
                helps = len(errors) == 0 or np.mean(errors < folds) > 0.5
                if form.error < best.error * (1 - LEAST_GAIN) and helps and (found is None or form.error < found[0].error):
                    found = (form, errors)
        if found is None:
            break
        best, folds = found
    for name in best.terms:
        if name not in ("time", "prefill", "decode"):
            form, _ = tried(tuple(term for term in best.terms if term != name))
            forms[form.terms] = form
    rated = [CostForm(f.terms, f.coefficients, f.error, credibility(f.error, best.error)) for f in forms.values() if f.terms != best.terms]
    part = blocks.of([*always, *(place[name] for name in best.terms)])
    drawn = part.drawn(times, rng)[:, others:]
    return CostModel((best, *sorted(rated, key=lambda form: form.error)), drawn, max(len(blocks) - len(part.scale), 1))


def credibility(error: float, least: float, tolerance: float = TOLERANCE) -> float:
    """How much an alternative counts, from its held-out error relative to the least."""
    excess = max(error / max(least, 1e-300) - 1.0, 0.0)
    return float(np.exp(-0.5 * excess / tolerance))
