"""Energy of a domain by the step log: states from the regression, mixed steps split by the cost model under one rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel, Reason, Window
from tpb_core.energy.cost_model import CostForm, CostModel
from tpb_core.energy.domain_energy import PHASE_OF, DomainEnergy, Piece, channel_piece, domain_energy, frame, phase_seconds
from tpb_core.energy.domains import Domain
from tpb_core.energy.figures import Figure
from tpb_core.energy.request_energy import by_step_time
from tpb_core.energy.request_shares import Roster, Shares, shares_by_members
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.step_split import BUSY, Split, StepSplits
from tpb_core.energy.timeline import State

Floats = npt.NDArray[np.float64]


ALTERNATIVES, REDRAWS = 2, 2
"""Cost forms beside the chosen one, and redraws of that one, that tell how sure the share of a request is."""
CORRELATION = 0.7
"""Of the errors of a mixed energy and of its split (found by simulation)."""


class StepEnergy:
    """The method `steps/<rule>` for a run. Everything that does not depend on the rule is kept and used by all rules."""

    def __init__(self, energy: RunEnergy, splits: StepSplits, rules: list[str], largest_u_share: float) -> None:
        self.energy, self.splits, self.rules, self.largest_u_share = energy, splits, rules, largest_u_share
        self._unmixed: dict[tuple[str, str], DomainEnergy] = {}
        self._pieces: dict[tuple[str, str], Piece | Reason] = {}
        self._split: dict[tuple[str, str, str], Split] = {}
        self._models: dict[str, CostModel] = {}
        self._shares: dict[tuple[str, str, str], dict[str, Shares]] = {}

    def of(self, rule: str, domain: Domain, window: Window) -> DomainEnergy:
        """Energy of a domain in a window; windows without mixed steps need no rule and no cost model."""
        present = self.energy.timeline(domain.name).states_within(*self.energy.bounds_s(window))
        if State.MIXED not in present or self.energy.activity.reason is not None or len(domain.givers) != 1:
            key = (domain.name, window.window)
            if key not in self._unmixed:
                self._unmixed[key] = self._without_rule(domain, window, busy=bool(present))
            return self._unmixed[key]
        seconds = phase_seconds(self.energy, domain.name, window)
        channel = domain.givers[0]
        piece = self._piece(domain, channel, window)
        if isinstance(piece, Reason):
            return frame(self.energy, domain, seconds, piece)
        total = piece.figures["total"].scaled(domain.share)
        known = frame(self.energy, domain, seconds, None, total, piece.noise_j2_per_s * domain.share**2)
        if piece.reason is not None:
            return _without_phases(known, piece.reason)
        model = self.splits.model(domain.name, channel, piece.fit)
        if isinstance(model, Reason):
            return _without_phases(known, model)
        self._models[domain.name] = model
        # What the work of the steps explains is no noise of a request's energy.
        known = replace(known, noise_j2_per_s=model.noise_j2_per_s * domain.share**2)
        if (rule, domain.name, window.window) not in self._split:
            made = self.splits.split(domain.name, window, model, self.rules)
            self._split.update({(name, domain.name, window.window): split for name, split in made.items()})
        split = self._split[rule, domain.name, window.window]
        mixed = piece.figures.get(State.MIXED, Figure(0.0))
        mixed_s = float(self.splits.state_seconds(domain.name, State.MIXED, window).sum())
        once = (window.window, domain.name, rule)
        for phase, state, share, seconds_mixed, sign in (
            ("prefill", State.PREFILL, split.share, split.seconds, 1.0),
            ("decode", State.DECODE, 1.0 - split.share, mixed_s - split.seconds, -1.0),
        ):
            figure = piece.figures.get(state, Figure(0.0)) + mixed.scaled(share)
            figure = figure.with_term("split", self.energy.once("split", *once), sign * _split_u(split, mixed))
            figure = figure.with_term("lack_of_fit", self.energy.once("lack_of_fit", *once), sign * split.misfit_u * mixed.joules)
            known.phases[phase] = figure.scaled(domain.share)
            known.seconds[phase] += seconds_mixed
        known.phases["idle"] = piece.figures.get(State.IDLE, Figure(0.0)).scaled(domain.share) if seconds["idle"] else Figure(0.0)
        for phase in PHASE_OF.values():
            if known.phases[phase].u_without_calibration_j > self.largest_u_share * max(abs(total.joules), 1e-12):
                del known.phases[phase]
                known.phase_reasons[phase] = Reason.UNCERTAINTY_TOO_LARGE
        return known

    def _without_rule(self, domain: Domain, window: Window, *, busy: bool) -> DomainEnergy:
        """A window without mixed steps. It too needs to know how power varies with the work of a step: where long steps draw more than
        short ones, the mean power of a state is not its energy over its time.
        """
        if self.energy.activity.reason is not None:
            return domain_energy(self.energy, domain, window, largest_u_share=self.largest_u_share)
        varies = self.splits.covariates(domain.name)
        known = domain_energy(self.energy, domain, window, largest_u_share=self.largest_u_share, covariates=varies)
        if not busy:  # nobody's request
            return known
        # Requests get their steps by time, so what varies between steps is noise of theirs.
        plain = domain_energy(self.energy, domain, window, largest_u_share=self.largest_u_share)
        return replace(known, noise_j2_per_s=plain.noise_j2_per_s)

    def described(self) -> dict[str, object]:
        """The chosen forms, for the ledger's parameters."""
        return {
            "energy_terms": {name: list(model.chosen.terms) for name, model in self._models.items()},
            "duration_form": {name: self.splits.durations(name)[0].name for name in self._models},
        }

    def fitted_j(self, domain: str, window: Window) -> float | None:
        """What the cost model and idle power together say of a window; None where no model was needed."""
        model, state = self._models.get(domain), State.IDLE
        piece = next((p for (name, w), p in self._pieces.items() if w == window.window and name == domain), None)
        if model is None or piece is None or isinstance(piece, Reason):
            return None
        return self._modelled(domain, window)[0] + piece.figures.get(state, Figure(0.0)).joules

    def _modelled(self, domain: str, window: Window) -> tuple[float, float]:
        """What the cost model says of a domain's steps in a window, joules, and the seconds that they ran there."""
        work = self.splits.shared_work(domain)
        inside = sum((self.splits.state_seconds(domain, state, window) for state in BUSY), np.zeros(len(work)))
        used = np.flatnonzero(inside > 0)
        mine = work.rows(used)
        joules = self._models[domain].chosen.joules(mine) @ (inside[used] / np.maximum(mine.seconds, 1e-12))
        return float(joules), float(inside.sum())

    def shares(self, rule: str, energy: RunEnergy, roster: Roster, phase: str, domain: str, window: Window) -> Shares:
        """How a phase is split among requests: steps by the model's energy, members by what their own tokens and contexts cost."""
        if phase == "idle" or (rule, domain, window.window) not in self._split:
            return by_step_time(energy, roster, phase, domain, window)
        key = (phase, domain, window.window)
        if key not in self._shares:
            self._shares[key] = self._made_shares(energy, roster, phase, domain, window)
        return self._shares[key][rule]

    def _made_shares(self, energy: RunEnergy, roster: Roster, phase: str, domain: str, window: Window) -> dict[str, Shares]:
        model, state = self._models[domain], State.PREFILL if phase == "prefill" else State.DECODE

        def made(form: CostForm) -> dict[str, Shares]:
            weights = np.column_stack([self._step_weights(r, phase, domain, window, form) for r in self.rules])
            by_cost = shares_by_members(energy, roster, weights, state, form.member_costs(phase))
            by_token = shares_by_members(energy, roster, weights, state, (1.0, 0.0, 0.0)) if "token" in self.rules else by_cost
            return {r: (by_token if r == "token" else by_cost)[k] for k, r in enumerate(self.rules)}

        joules, seconds = self._modelled(domain, window)
        chosen, watts = made(model.chosen), max(joules / max(seconds, 1e-12), 1e-12)
        squares = {rule: np.zeros(len(part.share)) for rule, part in chosen.items()}
        for form in model.others(ALTERNATIVES, REDRAWS):
            for rule, part in made(form).items():
                squares[rule] += form.credibility * (part.share - chosen[rule].share) ** 2
        # Steps weigh by joules here; the seconds that were somebody's own follow at the mean power of the steps.
        return {rule: replace(part, own_seconds=part.own_seconds / watts, share_u=np.sqrt(squares[rule])) for rule, part in chosen.items()}

    def _step_weights(self, rule: str, phase: str, domain: str, window: Window, form: CostForm) -> Floats:
        """Energy of each step that belongs to a phase: pure steps as a form sees them, mixed ones by their split."""
        piece = self._pieces[domain, window.window]
        assert isinstance(piece, Piece)
        split, work = self._split[rule, domain, window.window], self.splits.shared_work(domain)
        pure_state = State.PREFILL if phase == "prefill" else State.DECODE
        cost = form.joules(work) / np.maximum(work.seconds, 1e-12)
        pure = cost * self.splits.state_seconds(domain, pure_state, window)
        part = split.step_part if phase == "prefill" else 1.0 - split.step_part
        mixed = cost * part * self.splits.state_seconds(domain, State.MIXED, window)
        share = split.share if phase == "prefill" else 1.0 - split.share
        pure_j = piece.figures.get(pure_state, Figure(0.0)).joules
        mixed_j = share * piece.figures.get(State.MIXED, Figure(0.0)).joules
        pure_sum, mixed_sum = float(pure.sum()), float(mixed.sum())
        result = np.zeros(len(work))
        result += pure * (max(pure_j, 0.0) / pure_sum) if pure_sum > 0 else 0.0
        result += mixed * (max(mixed_j, 0.0) / mixed_sum) if mixed_sum > 0 else 0.0
        return result

    def _piece(self, domain: Domain, channel: Channel, window: Window) -> Piece | Reason:
        key = (domain.name, window.window)
        if key not in self._pieces:
            self._pieces[key] = channel_piece(self.energy, domain, channel, window, self.splits.covariates(domain.name))
        return self._pieces[key]


def _split_u(split: Split, mixed: Figure) -> float:
    """Uncertainty of the split from sampling, joules. The same readings err in the share and in the mixed energy, and the same way."""
    own = split.sampling_u * abs(mixed.joules)
    return float(np.sqrt(own**2 + 2 * CORRELATION * own * split.share * mixed.u_without_calibration_j))


def _without_phases(known: DomainEnergy, reason: Reason) -> DomainEnergy:
    known.phase_reasons.update(dict.fromkeys(PHASE_OF.values(), reason))
    return known
