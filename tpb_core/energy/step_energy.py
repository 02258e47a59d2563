"""Energy of a domain by the step log: states from the regression, mixed steps split by the cost model under one rule."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel, Reason, Window
from tpb_core.energy.cost_model import CostModel
from tpb_core.energy.domain_energy import PHASE_OF, DomainEnergy, Piece, channel_piece, domain_energy, frame, phase_seconds
from tpb_core.energy.domains import Domain
from tpb_core.energy.figures import Figure
from tpb_core.energy.regression import Fit
from tpb_core.energy.request_energy import StepEnergyShares
from tpb_core.energy.request_shares import Roster, Shares
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.step_shares import StepShares, views_of
from tpb_core.energy.step_split import Split, StepSplits
from tpb_core.energy.timeline import BUSY, State

Floats = npt.NDArray[np.float64]

SHORTEST_STRETCH_S = 1e-3


class StepEnergy:
    """The method `steps/<rule>` for a run. Everything that does not depend on the rule is kept and used by all rules."""

    def __init__(self, splits: StepSplits, rules: list[str], largest_u_share: float) -> None:
        self.energy, self.work, self.splits, self.rules, self.largest_u_share = splits.energy, splits.work, splits, rules, largest_u_share
        self._unmixed: dict[tuple[str, str], DomainEnergy] = {}
        self._pieces: dict[tuple[str, str], Piece | Reason] = {}
        self._split: dict[tuple[str, str, str], Split] = {}
        self._models: dict[str, CostModel] = {}
        self._without_split = StepEnergyShares()
        self._shares: dict[tuple[str, str], dict[tuple[str, str], Shares]] = {}

    def of(self, rule: str, domain: Domain, window: Window) -> DomainEnergy:
        """Energy of a domain in a window; windows without mixed steps need no rule and no cost model."""
        present = self.energy.timeline(domain.name).states_within(*self.energy.bounds_s(window))
        if State.MIXED not in present or self.energy.activity.reason is not None or len(domain.givers) != 1:
            key = (domain.name, window.window)
            if key not in self._unmixed:
                self._unmixed[key] = self._without_rule(domain, window)
            return self._unmixed[key]
        seconds = phase_seconds(self.energy, domain.name, window)
        channel = domain.givers[0]
        piece = self._piece(domain, channel, window)
        if isinstance(piece, Reason):
            return frame(self.energy, domain, seconds, piece)
        total = piece.figures["total"].scaled(domain.share)
        known = frame(self.energy, domain, seconds, None, total)
        if piece.reason is not None:
            return _without_phases(known, piece.reason)
        model = self.splits.model(domain.name, channel, piece.fit)
        if isinstance(model, Reason):
            return _without_phases(known, model)
        self._models[domain.name] = model
        if (rule, domain.name, window.window) not in self._split:
            made = self.splits.split(domain.name, window, model, self.rules)
            self._split.update({(name, domain.name, window.window): split for name, split in made.items()})
        split = self._split[rule, domain.name, window.window]
        mixed = piece.figures.get(State.MIXED, Figure(0.0))
        mixed_s = float(self.work.state_seconds(domain.name, State.MIXED, window).sum())
        once = (window.window, domain.name, rule)
        before = piece.figures.get(State.PREFILL, Figure(0.0)) + mixed.scaled(split.share)
        memory_s = max(self.energy.meter(channel).observations.memory_s, SHORTEST_STRETCH_S)
        split_u_j = _split_u_j(split, mixed, before, _together(piece.fit, split, mixed, model, memory_s))
        for phase, state, share, seconds_mixed, sign in (
            ("prefill", State.PREFILL, split.share, split.seconds, 1.0),
            ("decode", State.DECODE, 1.0 - split.share, mixed_s - split.seconds, -1.0),
        ):
            figure = piece.figures.get(state, Figure(0.0)) + mixed.scaled(share)
            figure = figure.with_term("split", self.energy.once("split", *once), sign * split_u_j)
            figure = figure.with_term("lack_of_fit", self.energy.once("lack_of_fit", *once), sign * split.misfit_u * mixed.joules)
            known.phases[phase] = figure.scaled(domain.share)
            known.seconds[phase] += seconds_mixed
        known.phases["idle"] = piece.figures.get(State.IDLE, Figure(0.0)).scaled(domain.share) if seconds["idle"] else Figure(0.0)
        for phase in PHASE_OF.values():
            if known.phases[phase].u_without_calibration_j > self.largest_u_share * max(abs(total.joules), 1e-12):
                del known.phases[phase]
                known.phase_reasons[phase] = Reason.UNCERTAINTY_TOO_LARGE
        return known

    def _without_rule(self, domain: Domain, window: Window) -> DomainEnergy:
        """A window without mixed steps. It too needs to know how power varies with the work of a step: where long steps draw more than
        short ones, the mean power of a state is not its energy over its time.
        """
        return domain_energy(self.energy, domain, window, self.work.rates(domain.name), largest_u_share=self.largest_u_share)

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
        return self._modelled_j(domain, window) + piece.figures.get(state, Figure(0.0)).joules

    def _modelled_j(self, domain: str, window: Window) -> float:
        """What the cost model says of a domain's steps in a window, joules."""
        work = self.work.of(domain)
        inside = sum((self.work.state_seconds(domain, state, window) for state in BUSY), np.zeros(len(work)))
        used = np.flatnonzero(inside > 0)
        mine = work.rows(used)
        return float(self._models[domain].chosen.joules(mine) @ (inside[used] / np.maximum(mine.seconds, 1e-12)))

    def shares(self, rule: str, energy: RunEnergy, roster: Roster, phase: str, domain: str, window: Window, known: DomainEnergy) -> Shares:
        """How a phase is split among requests: steps by the model's energy, members by what their own tokens and contexts cost."""
        if phase == "idle" or (rule, domain, window.window) not in self._split:
            return self._without_split(energy, roster, phase, domain, window, known)
        key = (domain, window.window)
        if key not in self._shares:
            piece, members = self._pieces[key], energy.activity.members
            assert isinstance(piece, Piece)
            views = views_of(self._models[domain], self.splits.rated_durations(domain), len(members.request) if members is not None else 0)
            by_rule = {name: self._split[name, domain, window.window] for name in self.rules}
            scatter = self._models[domain].scatter
            self._shares[key] = StepShares(self.splits, roster, domain, window, piece.figures, by_rule, scatter).shares(views)
        return self._shares[key][rule, phase]

    def _piece(self, domain: Domain, channel: Channel, window: Window) -> Piece | Reason:
        key = (domain.name, window.window)
        if key not in self._pieces:
            self._pieces[key] = channel_piece(self.energy, domain, channel, window, self.work.rates(domain.name))
        return self._pieces[key]


def _split_u_j(split: Split, mixed: Figure, before: Figure, together: float) -> float:
    """What an uncertain share adds to the uncertainty of prefill's energy `before` it, in quadrature, joules.

    The same readings err in both: u^2 = s^2 + 2 r s b + d^2, s of the share's cost, d of its durations, r the correlation of s with b.
    """
    own, alone = split.sampling_u * abs(mixed.joules), split.durations_u * mixed.joules
    return float(np.sqrt(max(own**2 + 2 * together * own * before.u_without_calibration_j, 0.0) + alone**2))


def _together(fit: Fit, split: Split, mixed: Figure, model: CostModel, memory_s: float) -> float:
    """Correlation of the errors of prefill's energy at a given share and of that share, over stretches of readings of both fits."""
    energies = fit.errors_of(State.PREFILL) + split.share * fit.errors_of(State.MIXED)
    begin_s = min(float(fit.middle_s[0]), float(model.middle_s[0]))
    end_s = max(float(fit.middle_s[-1]), float(model.middle_s[-1]))
    sums = [
        np.bincount(((middle_s - begin_s) / memory_s).astype(np.int64), errors, int((end_s - begin_s) / memory_s) + 1)
        for middle_s, errors in ((fit.middle_s, energies), (model.middle_s, split.errors * mixed.joules))
    ]
    scale = float(np.sqrt((sums[0] @ sums[0]) * (sums[1] @ sums[1])))
    return float(sums[0] @ sums[1]) / scale if scale > 0 else 0.0


def _without_phases(known: DomainEnergy, reason: Reason) -> DomainEnergy:
    known.phase_reasons.update(dict.fromkeys(PHASE_OF.values(), reason))
    return known
