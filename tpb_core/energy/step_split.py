"""Steps that do both phases: which part of their energy is prefill's under a rule, how sure that is, and who took part."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel, Reason, Window
from tpb_core.energy.blocks import blocks_of
from tpb_core.energy.columns import pieces
from tpb_core.energy.cost_model import CostModel, credibility, fit_costs
from tpb_core.energy.covariance import block_length
from tpb_core.energy.domain_work import DomainWork
from tpb_core.energy.durations import MOVE, Durations, fit_durations
from tpb_core.energy.filters import Filter
from tpb_core.energy.regression import Fit
from tpb_core.energy.split_rules import prefill_part
from tpb_core.energy.step_scatter import Left, reading_noise, step_scatter, time_together_s
from tpb_core.energy.step_work import BASE, DRAFT, RICHER, TERMS, density, rows_on
from tpb_core.energy.steps_said import Steps
from tpb_core.energy.timeline import State

Floats = npt.NDArray[np.float64]

LEAST_ROWS_A_TERM = 8
MOST_ROWS = 80_000
DURATION_TOLERANCE = 0.1
LEAST_CREDIBLE = 0.01


@dataclass(frozen=True)
class Split:
    """Prefill's share of a window's mixed energy, the mean over credible forms, and its seconds. `sampling_u` from the coefficients of the
    cost, `durations_u` from those of how long either part alone takes, `misfit_u` from alternative forms.

    `errors` is what the part that the model leaves of each reading does to the share.
    """

    share: float
    sampling_u: float
    durations_u: float
    misfit_u: float
    seconds: float
    errors: Floats


class StepSplits:
    """Cost models of a run's domains, each fitted once over its measured windows, and the splits that follow from them."""

    def __init__(self, work: DomainWork, measured: list[Window], times: int = 200, seed: int = 0) -> None:
        self.work, self.energy, self.measured, self.times, self.seed = work, work.energy, measured, times, seed
        self._durations: dict[frozenset[str] | None, list[Durations]] = {}
        self._models: dict[str, CostModel | Reason] = {}

    def durations(self, domain: str) -> list[Durations]:
        """Forms of the duration of a domain's steps, the best first."""
        key = self.energy.instances(domain)
        if key not in self._durations:
            rows = rows_on(self.energy.activity, key)
            self._durations[key] = fit_durations(self.work.all_steps.rows(rows), np.random.default_rng(self.seed))
        return self._durations[key]

    def rated_durations(self, domain: str) -> list[tuple[Durations, float]]:
        """Forms of the duration, the best first, with how much each counts."""
        forms = self.durations(domain)
        return [(form, credibility(form.error, forms[0].error, DURATION_TOLERANCE)) for form in forms]

    def model(self, domain: str, channel: Channel, fit: Fit) -> CostModel | Reason:
        """The cost model of a channel; `not_resolvable` where there are too few readings for its terms."""
        if channel.channel not in self._models:
            self._models[channel.channel] = self._fit(domain, channel, fit)
        return self._models[channel.channel]

    def _fit(self, domain: str, channel: Channel, fit: Fit) -> CostModel | Reason:
        energy, observations = self.energy, self.energy.meter(channel).observations
        t0_s = min(energy.bounds_s(window)[0] for window in self.measured)
        t1_s = max(energy.bounds_s(window)[1] for window in self.measured)
        rows = observations.between(t0_s, t1_s)
        if rows.stop - rows.start > MOST_ROWS:
            observations = observations.merged(rows, MOST_ROWS)
            rows = slice(0, len(observations))
        if rows.stop - rows.start < LEAST_ROWS_A_TERM * (len(BASE) + 1):
            return Reason.NOT_RESOLVABLE
        timeline, activity = energy.timeline(domain), energy.activity
        margin = 2 * observations.averaging_s + 1.0
        points, row = pieces(timeline, (float(observations.lo_s[rows][0]) - margin, float(observations.hi_s[rows][-1]) + margin))
        steps = rows_on(activity, energy.instances(domain))
        work = self.work.of(domain).rows(steps)
        idle = np.where(row >= 0, timeline.state[np.maximum(row, 0)] == State.IDLE, True).astype(np.float64)
        names: list[str] = []
        signals = [idle] if idle.any() else []
        others = len(signals)
        for name in (*BASE, *DRAFT, *RICHER):
            amount = TERMS[name](work)
            if amount.any():
                rate = density(timeline, activity, steps, amount)
                signals.append(np.where(row >= 0, rate[np.maximum(row, 0)], 0.0))
                names.append(name)
        design = Filter(points, signals).filtered(observations, rows, fit.alignment.shift_s, 0.0, fit.alignment.smear)
        length = observations.hi_s[rows] - observations.lo_s[rows]
        equal = np.ones(len(length))
        trust = np.where(observations.good[rows], np.clip(length / np.median(length), 1e-3, 1e3) if observations.increments else equal, 0.0)
        power = observations.mean_w[rows]
        first = design @ np.linalg.lstsq(design * trust[:, None], power * trust, rcond=None)[0]
        cell = observations.cell_hi_s[rows] - observations.cell_lo_s[rows]
        block = block_length(power - first, int(np.ceil(observations.memory_s / max(float(np.median(cell)), 1e-9))))
        blocks = blocks_of(design, power, trust, block)
        model = fit_costs(blocks, names, others, self.times, np.random.default_rng(self.seed))
        columns = [*range(others), *(others + names.index(name) for name in model.chosen.terms)]
        powers = blocks.of(columns).fit()
        unexplained_w = power - design[:, columns] @ powers
        errors = _errors(design[:, columns], trust, unexplained_w, powers)[:, others:]
        middle_s = (observations.lo_s[rows] + observations.hi_s[rows]) / 2
        left = Left(observations, rows, unexplained_w, fit.alignment.shift_s, self._noise_w(channel), len(columns))
        order = steps[np.argsort(activity.t0_s[steps], kind="stable")]
        joules = model.chosen.joules(self.work.of(domain).rows(order))
        said = Steps(activity.t0_s[order], activity.t1_s[order], joules, float(powers[:others].sum()))
        scatter = step_scatter(left, said, time_together_s(activity, order))
        return replace(model, scatter=scatter, errors=errors, middle_s=middle_s)

    def _noise_w(self, channel: Channel) -> float:
        return reading_noise(self.energy.meter(channel).observations, self.energy.rest_spans_s())

    def split(self, domain: str, window: Window, model: CostModel, rules: list[str]) -> dict[str, Split]:
        """Split the mixed energy of a window under each rule."""
        work = self.work.of(domain)
        inside = self.work.state_seconds(domain, State.MIXED, window)
        chosen = np.flatnonzero(inside > 0)
        mine = work.rows(chosen)
        part = inside[chosen] / np.maximum(mine.seconds, 1e-12)
        forms = [form for form in model.forms if form.credibility >= LEAST_CREDIBLE]
        times = [(form, trusted) for form, trusted in self.rated_durations(domain) if trusted >= LEAST_CREDIBLE]
        whole = {name: TERMS[name](mine) for name in TERMS}
        whole_sum = {name: float(part @ amount) for name, amount in whole.items()}
        answers: dict[str, list[float]] = {rule: [] for rule in rules}
        weights: list[float] = []

        def prefill_sums(duration: Durations) -> dict[str, dict[str, float]]:
            alone = duration.alone(mine)
            prefill, decode = mine.prefill_alone(alone[0]), mine.decode_alone(alone[1])
            both = [(name, TERMS[name](prefill), TERMS[name](decode)) for name in TERMS]
            return {
                rule: {name: float(part @ prefill_part(rule, mine, whole[name], before, after)) for name, before, after in both}
                for rule in rules
            }

        sums = [prefill_sums(form) for form, _ in times]
        for (_, trusted), sums_of in zip(times, sums, strict=True):
            weights += [form.credibility * trusted for form in forms]
            for rule in rules:
                answers[rule] += [_ratio(form.terms, form.coefficients, sums_of[rule], whole_sum) for form in forms]
        best, duration = model.chosen, times[0][0]
        alone = duration.alone(mine)
        moved = [prefill_sums(other) for other in duration.moved()]
        made: dict[str, Split] = {}
        for rule in rules:
            mine_of = sums[0][rule]
            drawn = np.array([_ratio(best.terms, theta, mine_of, whole_sum) for theta in model.drawn])
            shares = np.array(answers[rule])
            share = float(np.average(shares, weights=weights))
            misfit = float(np.sqrt(np.average((shares - share) ** 2, weights=weights)))
            seconds = float(part @ prefill_part(rule, mine, mine.seconds, *alone))
            off = [_ratio(best.terms, best.coefficients, other[rule], whole_sum) - shares[0] for other in moved]
            durations_u = float(np.sqrt(np.sum(np.square(off)))) / MOVE
            errors = model.errors @ _slope(best.terms, best.coefficients, mine_of, whole_sum)
            made[rule] = Split(share, float(np.sqrt(np.mean((drawn - shares[0]) ** 2))), durations_u, misfit, seconds, errors)
        return made


def _errors(design: Floats, trust: Floats, left_w: Floats, coefficients: Floats) -> Floats:
    """(readings x columns): the change of least-squares coefficients for what is left of each reading; those at 0 do not move."""
    errors = np.zeros_like(design)
    free = np.flatnonzero(coefficients > 0)
    weighted = design[:, free] * trust[:, None]
    errors[:, free] = (weighted * left_w[:, None]) @ np.linalg.pinv(weighted.T @ design[:, free])
    return errors


def _slope(terms: tuple[str, ...], theta: Floats, part: dict[str, float], whole: dict[str, float]) -> Floats:
    """Change of the share for one more of each coefficient."""
    share, total = _ratio(terms, theta, part, whole), sum(value * whole[name] for name, value in zip(terms, theta, strict=True))
    return np.array([(part[name] - share * whole[name]) / total if total > 0 else 0.0 for name in terms])


def _ratio(terms: tuple[str, ...], theta: Floats, part: dict[str, float], whole: dict[str, float]) -> float:
    total = sum(value * whole[name] for name, value in zip(terms, theta, strict=True))
    return float(sum(value * part[name] for name, value in zip(terms, theta, strict=True)) / total) if total > 0 else 0.5
