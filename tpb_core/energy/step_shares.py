"""Requests' shares of phases with mixed steps: by the cost model, averaged over all ways to see the steps that explain the readings.

A step weighs by its energy, its members by what their own tokens and contexts cost. Both come from coefficients that one form of the
model, fitted once, knows badly where they hardly show in the energy of a window; so they are averaged, and how far they differ is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tpb_core.api import Window
from tpb_core.energy.cost_model import CostForm, CostModel
from tpb_core.energy.durations import Durations
from tpb_core.energy.figures import Figure
from tpb_core.energy.request_shares import BY_TOKENS, Roster, Shares, Within, shares_by_members
from tpb_core.energy.split_rules import prefill_part
from tpb_core.energy.step_scatter import StepScatter
from tpb_core.energy.step_split import Split, StepSplits
from tpb_core.energy.step_work import Work
from tpb_core.energy.timeline import State

Floats = npt.NDArray[np.float64]

FEWEST_VIEWS, MOST_VIEWS = 4, 24
MOVE = 1.0
"""In standard uncertainties: so small that shares answer in proportion."""
MEMBER_ROWS = 12_000_000
"""So many rows of members are gone through for all views together: long runs know their coefficients better and get fewer."""
LEAST_CREDIBLE = 0.01
OF_MEMBERS = ("prefill", "prefill_kv", "decode", "kv")
"""Terms of which members have parts of their own. A form without one may explain a window about as well, but says nothing of members."""
OF_PHASE = {"prefill": State.PREFILL, "decode": State.DECODE}


@dataclass(frozen=True)
class View:
    """One way to see the steps: a cost form and a form of their durations."""

    form: CostForm
    durations: Durations


@dataclass(frozen=True)
class Views:
    """The chosen view first, then `moved` ones, whose coefficients are off by `MOVE` standard uncertainties in independent directions, then
    alternatives; `weight` of the chosen one and of each alternative.
    """

    each: list[View]
    moved: int
    weight: Floats
    dof: float

    def mean(self, answers: Floats) -> Floats:
        """Mean over the chosen form and its alternatives of answers (one row a view)."""
        return np.asarray(self.weight @ self._forms(answers))

    def variance(self, answers: Floats) -> Floats:
        """Of uncertain coefficients, which is taken to be alike in all forms, and between forms."""
        forms, moved = self._forms(answers), answers[1 : 1 + self.moved]
        few = float(self.weight @ self.weight)
        between = self.weight @ (forms - self.weight @ forms) ** 2 / max(1.0 - few, few)
        return np.asarray((((moved - answers[0]) / MOVE) ** 2).sum(axis=0) + between)

    def _forms(self, answers: Floats) -> Floats:
        return np.vstack([answers[:1], answers[1 + self.moved :]])


def views_of(model: CostModel, durations: list[tuple[Durations, float]], member_rows: int) -> Views:
    """The chosen cost form with its coefficients and with others that are as likely, its alternatives, and alternative durations."""
    most = int(np.clip(MEMBER_ROWS // max(member_rows, 1), FEWEST_VIEWS, MOST_VIEWS))
    chosen = View(model.chosen, durations[0][0])
    moved = [View(replace(model.chosen, coefficients=theta), chosen.durations) for theta in _moved(model)[: most // 2]]
    kept = {term for term in model.chosen.terms if term in OF_MEMBERS}
    others = [(View(form, chosen.durations), form.credibility) for form in model.forms[1:] if kept <= set(form.terms)]
    others += [(View(model.chosen, duration), credibility) for duration, credibility in durations[1:]]
    others = sorted((view for view in others if view[1] >= LEAST_CREDIBLE), key=lambda view: -view[1])[: most - 1 - len(moved)]
    weight = np.array([1.0, *(credibility for _, credibility in others)])
    return Views([chosen, *moved, *(view for view, _ in others)], len(moved), weight / weight.sum(), model.dof)


def _moved(model: CostModel) -> Floats:
    """Coefficients moved along the axes of their covariance, the least certain first, to the side on which fewer would be negative."""
    scale = np.sqrt(np.maximum(np.diag(model.covariance), 1e-300))
    values, vectors = np.linalg.eigh(model.covariance / np.outer(scale, scale))
    steps = MOVE * (vectors * np.sqrt(np.maximum(values, 0.0))).T[::-1] * scale
    below = [np.minimum(model.chosen.coefficients + sign * steps, 0.0) / scale for sign in (1.0, -1.0)]
    sign = np.where((below[0] ** 2).sum(axis=1) <= (below[1] ** 2).sum(axis=1), 1.0, -1.0)
    return np.asarray(model.chosen.coefficients + sign[:, None] * steps)


class StepShares:
    """How the steps of a domain in a window are shared. `figures` are its energies by state, `split` by rule."""

    def __init__(
        self, splits: StepSplits, roster: Roster, domain: str, window: Window, figures: Mapping[State | str, Figure],
        split: dict[str, Split], scatter: StepScatter | None,
    ) -> None:  # fmt: skip
        self.scatter = scatter
        self.energy, self.roster, self.figures, self.split = splits.energy, roster, figures, split
        self.owned = splits.energy.tree.domains[domain].share
        self.work = splits.work.of(domain)
        seconds = np.maximum(self.work.seconds, 1e-12)
        self.inside = {state: splits.work.state_seconds(domain, state, window) / seconds for state in (*OF_PHASE.values(), State.MIXED)}
        self.mixed = np.flatnonzero(self.inside[State.MIXED] > 0)
        self._alone: dict[str, tuple[Work, Work]] = {}

    def shares(self, views: Views) -> dict[tuple[str, str], Shares]:
        """Of each (rule, phase)."""
        weights = {nth: self._weights(view) for nth, view in enumerate(views.each)}
        made: dict[tuple[str, str], Shares] = {}
        for phase in OF_PHASE:
            for by_token in {rule == "token" for rule in self.split}:
                rules = [rule for rule in self.split if (rule == "token") == by_token]
                columns = [weights[nth][phase, name] for nth in weights for name in ("pure", *rules)]
                of_views = [BY_TOKENS if by_token else each.form.member_costs(phase) for each in views.each]
                costs = [cost for cost in of_views for _ in ("pure", *rules)]
                parts = shares_by_members(self.energy, self.roster, np.column_stack(columns), OF_PHASE[phase], costs, 1 + len(rules))
                for nth, rule in enumerate(rules, 1):
                    apart = [(parts[v], parts[v + nth]) for v in range(0, len(parts), 1 + len(rules))]
                    made[rule, phase] = self._averaged(phase, rule, apart, views, weights[0])
        return made

    def _averaged(
        self, phase: str, rule: str, apart: list[tuple[Shares, Shares]], views: Views, weights: dict[tuple[str, str], Floats]
    ) -> Shares:  # fmt: skip
        """From shares of pure and of mixed steps in each view to one answer."""
        joules = self._joules(phase, rule, weights)
        of_pure = joules[0] / max(sum(joules), 1e-300)
        pure, mixed = (np.array([np.append(pair[kind].share, pair[kind].rest) for pair in apart]) for kind in (0, 1))
        each = of_pure * pure + (1.0 - of_pure) * mixed
        mean, spread = views.mean(each), np.sqrt(views.variance(each))
        own = of_pure**2 * apart[0][0].own + (1.0 - of_pure) ** 2 * apart[0][1].own
        within = Within(views.mean(pure), views.mean(mixed), self.figures.get(OF_PHASE[phase], Figure(0.0)).scaled(self.owned))
        return Shares(mean[:-1], float(mean[-1]), own, self.scatter, spread[:-1], views.dof, within)

    def _joules(self, phase: str, rule: str, weights: dict[tuple[str, str], Floats]) -> tuple[float, float]:
        """Energy of the pure steps of a phase and of its part of the mixed ones, where there are such steps."""
        share = self.split[rule].share if phase == "prefill" else 1.0 - self.split[rule].share
        pure_j = max(self.figures.get(OF_PHASE[phase], Figure(0.0)).joules, 0.0) if weights[phase, "pure"].any() else 0.0
        mixed_j = max(share * self.figures.get(State.MIXED, Figure(0.0)).joules, 0.0) if weights[phase, rule].any() else 0.0
        return pure_j, mixed_j

    def _weights(self, view: View) -> dict[tuple[str, str], Floats]:
        """What the steps of a phase weigh against one another as a view sees them: pure ones, and mixed ones by rule."""
        cost = view.form.joules(self.work)
        made = {(phase, "pure"): cost * self.inside[state] for phase, state in OF_PHASE.items()}
        work, whole = self.work.rows(self.mixed), cost[self.mixed]
        prefill, decode = (view.form.joules(part) for part in self._parts_alone(view.durations, work))
        for rule in self.split:
            part = np.clip(prefill_part(rule, work, whole, prefill, decode), 0.0, whole) * self.inside[State.MIXED][self.mixed]
            for phase, joules in (("prefill", part), ("decode", whole * self.inside[State.MIXED][self.mixed] - part)):
                made[phase, rule] = np.zeros(len(self.work))
                made[phase, rule][self.mixed] = joules
        return made

    def _parts_alone(self, durations: Durations, work: Work) -> tuple[Work, Work]:
        if durations.name not in self._alone:
            prefill_s, decode_s = durations.alone(work)
            self._alone[durations.name] = work.prefill_alone(prefill_s), work.decode_alone(decode_s)
        return self._alone[durations.name]
