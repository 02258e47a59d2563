"""Durations of steps as a function of their work: how long either part of a mixed step alone would have taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tpb_core.energy.blocks import Blocks, blocks_of
from tpb_core.energy.covariance import independent_sources
from tpb_core.energy.step_work import TERMS, Work

Floats = npt.NDArray[np.float64]

LINEAR = ("busy", "prefill", "decode", "kv", "prefill_kv")
RICH = (*LINEAR, "pairs", "touched")
MEMORY = ("busy", "kv", "prefill_kv", "touched")
COMPUTE = ("busy", "prefill", "decode", "kv", "pairs")
MOST_STEPS = 40_000
BLOCK_STEPS = 50
ROUNDS = 12
MOVE = 0.1
"""Small, so that steps stay on the side of a maximum that they were fitted on."""
LONGEST_QUANTILE = 0.998


@dataclass(frozen=True)
class Durations:
    """A fitted form: the largest of one or two sums of terms. `error` is its mean squared held-out error, s^2.

    `covariances` of the coefficients of each part, of which those at 0 are taken as known.
    """

    name: str
    parts: tuple[tuple[str, ...], ...]
    coefficients: tuple[Floats, ...]
    error: float
    covariances: tuple[Floats, ...] = ()

    def seconds(self, work: Work) -> Floats:
        """Predicted seconds of steps, as the served model would take them."""
        sums = [_design(work, terms) @ theta for terms, theta in zip(self.parts, self.coefficients, strict=True)]
        return np.asarray(np.maximum.reduce(sums))

    def moved(self) -> Iterator[Durations]:
        """The form with its coefficients `MOVE` standard uncertainties off, along each independent direction of their errors."""
        for k, covariance in enumerate(self.covariances):
            for off in independent_sources(covariance):
                coefficients = list(self.coefficients)
                coefficients[k] = coefficients[k] + MOVE * off
                yield replace(self, coefficients=tuple(coefficients))

    def alone(self, work: Work) -> tuple[Floats, Floats]:
        """Seconds that the prefill and the decode part of each step would have taken alone: the measured duration scaled as predicted."""
        whole = np.maximum(self.seconds(work), 1e-9)
        unknown = np.ones_like(work.seconds)
        prefill = np.where(work.prefill > 0, self.seconds(work.prefill_alone(unknown)), 0.0)
        decode = np.where(work.decode > 0, self.seconds(work.decode_alone(unknown)), 0.0)
        return np.minimum(work.seconds * prefill / whole, work.seconds), np.minimum(work.seconds * decode / whole, work.seconds)


def fit_durations(work: Work, rng: np.random.Generator) -> list[Durations]:
    """All forms, the one with the least held-out error first: linear, richer, and the larger of memory and compute time.

    Steps of a draft model are left out where there are others.
    """
    served = work.draft == 0
    chosen = np.flatnonzero(served) if served.any() else np.arange(len(work))
    seconds = work.seconds[chosen]
    limit = float(np.quantile(seconds, LONGEST_QUANTILE)) if len(chosen) else 0.0
    chosen = chosen[(seconds > 0) & (seconds <= limit * 1.5)]
    if len(chosen) > MOST_STEPS:
        first = np.sort(rng.choice(len(chosen) // BLOCK_STEPS, MOST_STEPS // BLOCK_STEPS, replace=False)) * BLOCK_STEPS
        chosen = chosen[(first[:, None] + np.arange(BLOCK_STEPS)).ravel()]
    used = work.rows(chosen)
    forms = [_linear("linear", LINEAR, used), _linear("rich", RICH, used), _larger(used)]
    return sorted(forms, key=lambda form: form.error)


def _linear(name: str, terms: tuple[str, ...], work: Work) -> Durations:
    blocks = _blocks(work, terms, np.ones(len(work)))
    theta = blocks.fit()
    return Durations(name, (terms,), (theta,), _mean(blocks.held_out()), (_free(blocks, theta),))


def _larger(work: Work) -> Durations:
    """max(memory, compute): steps are given to the larger sum and both are fitted again until nothing moves."""
    thirds = np.arange(len(work)) // BLOCK_STEPS % 3 == 0
    theta = _alternate(work, np.ones(len(work), np.bool_))
    held = _alternate(work, ~thirds) if (~thirds).sum() > 10 * BLOCK_STEPS else theta
    form = Durations("larger", (MEMORY, COMPUTE), theta, 0.0)
    check = Durations("larger", (MEMORY, COMPUTE), held, 0.0)
    test = work.rows(thirds) if thirds.any() else work
    sums = [_design(work, terms) @ coefficients for terms, coefficients in zip(form.parts, theta, strict=True)]
    sides = (sums[0] >= sums[1], sums[1] > sums[0])
    covariances = [
        _free(_blocks(work.rows(np.flatnonzero(mine)), terms, np.ones(int(mine.sum()))), coefficients)
        if mine.sum() >= 2 * len(terms)
        else np.zeros((len(terms), len(terms)))
        for mine, terms, coefficients in zip(sides, form.parts, theta, strict=True)
    ]
    error = float(np.mean((test.seconds - check.seconds(test)) ** 2))
    return replace(form, error=error, covariances=tuple(covariances))


def _free(blocks: Blocks, coefficients: Floats) -> Floats:
    """Covariance of the coefficients that are not at 0, in the place of all."""
    covariance = np.zeros((len(coefficients), len(coefficients)))
    free = [int(k) for k in np.flatnonzero(coefficients > 0)]
    if len(free) and len(blocks) > len(free):
        covariance[np.ix_(free, free)] = blocks.of(free).covariance_where_told()
    return covariance


def _alternate(work: Work, use: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """From several first guesses of which steps are compute bound, the one that explains the steps in use best."""
    designs = _design(work, MEMORY), _design(work, COMPUTE)
    some = work.prefill[work.prefill > 0]
    guesses = [work.prefill > 0, work.prefill > (float(np.median(some)) if len(some) else 0.0)]
    guesses.append(work.prefill + work.decode > float(np.median(work.prefill + work.decode)))
    best, least = (np.zeros(len(MEMORY)), np.zeros(len(COMPUTE))), np.inf
    for compute in guesses:
        for theta in _rounds(work, use, designs, compute):
            predicted = np.maximum(designs[0] @ theta[0], designs[1] @ theta[1])
            misfit = float(np.mean((work.seconds - predicted)[use] ** 2))
            if misfit < least:
                best, least = theta, misfit
    return best


def _rounds(
    work: Work, use: npt.NDArray[np.bool_], designs: tuple[Floats, Floats], compute: npt.NDArray[np.bool_]
) -> Iterator[tuple[Floats, Floats]]:
    """Fit both sums to the steps that are theirs, give each step to the larger sum, and again."""
    theta = (np.zeros(len(MEMORY)), np.zeros(len(COMPUTE)))
    for _ in range(ROUNDS):
        fitted = []
        for design, mask, old in zip(designs, (~compute & use, compute & use), theta, strict=True):
            enough = mask.sum() >= 2 * design.shape[1]
            fitted.append(blocks_of(design[mask], work.seconds[mask], np.ones(int(mask.sum())), BLOCK_STEPS).fit() if enough else old)
        theta = (fitted[0], fitted[1])
        yield theta
        moved = designs[1] @ theta[1] > designs[0] @ theta[0]
        if (moved == compute).all():
            return
        compute = moved


def _blocks(work: Work, terms: tuple[str, ...], trust: Floats) -> Blocks:
    return blocks_of(_design(work, terms), work.seconds, trust, BLOCK_STEPS)


def _design(work: Work, terms: tuple[str, ...]) -> Floats:
    served = work.as_served()  # what either part of a draft model's step takes is in proportion
    return np.column_stack([TERMS[name](served) for name in terms])


def _mean(errors: Floats) -> float:
    return float(errors.mean()) if len(errors) else np.inf
