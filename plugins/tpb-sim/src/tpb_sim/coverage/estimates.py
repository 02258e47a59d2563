"""One figure as somebody stated it, whoever it was: an attributor with intervals, or a common practice without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tpb_core.api import Ledger
from tpb_sim.memory_run import SimRun
from tpb_sim.truth import RULES, PhaseTruth, Truth

WINDOW, DOMAIN = "measure", "total"
NULL = math.nan
NORMAL_975 = 1.959963984540054


class Estimate(NamedTuple):
    """`figure` is a phase, or `request` (then one for each). Joules; NaN is NULL."""

    method: str
    figure: str
    joules: float
    low: float = NULL
    high: float = NULL
    total_low: float = NULL
    total_high: float = NULL
    true_j: float = NULL
    as_metered_j: float = NULL


def rule_of(method: str, truth: Truth) -> str:
    """The split rule behind a method name such as `steps/incremental`; `pure` where the window needs none.

    A window without mixed steps needs no cost model either, so that its steps are divided among their members by tokens.
    """
    if any((row.window, row.method) == (WINDOW, "pure") for row in truth.phases):
        return "pure"
    variant = method.rsplit("/", 1)[-1]
    return variant if variant in RULES else "shapley"


def of_ledger(ledger: Ledger, truth: Truth, basis: str) -> Iterator[Estimate]:
    """The figures of window `measure` over all metered domains, and those of its requests, beside the truth."""
    rule, below = rule_of(ledger.method, truth), _left_to_devices(ledger, basis)
    for row in ledger.energy:
        if (row.window, row.domain, row.basis) != (WINDOW, DOMAIN, basis) or row.phase == "unattributed":
            continue
        true = _true(truth, row.phase, rule, basis, devices=row.phase in below)
        joules, low, high, total_low, total_high = (
            _or_null(v) for v in (row.joules, row.ci_low_j, row.ci_high_j, row.ci_total_low_j, row.ci_total_high_j)
        )
        yield Estimate(ledger.method, row.phase, joules, low, high, total_low, total_high, true.joules, true.as_metered_j)
    if not below:
        yield from _of_requests(ledger, truth, rule, basis)


def _left_to_devices(ledger: Ledger, basis: str) -> set[str]:
    """Phases that a metered node does not resolve, so that the run's are those of the domains below; its rest is nobody's phase."""
    rows = [row for row in ledger.energy if (row.window, row.basis) == (WINDOW, basis) and row.domain != DOMAIN and "/" not in row.domain]
    return {row.phase for row in rows if row.phase in ("prefill", "decode", "idle") and row.joules is None}


def _true(truth: Truth, phase: str, rule: str, basis: str, *, devices: bool) -> PhaseTruth:
    """A figure of the run's total, or of its devices alone."""
    if not devices:
        return truth.row(WINDOW, DOMAIN, phase, rule, basis)
    key = (WINDOW, phase, basis, rule)
    rows = [row for row in truth.phases if (row.window, row.phase, row.basis, row.method) == key and "/" in row.domain]
    return rows[0]._replace(
        domain=DOMAIN,
        joules=sum(r.joules for r in rows),
        seconds=max(r.seconds for r in rows),
        as_metered_j=sum(r.as_metered_j for r in rows),
    )


def _of_requests(ledger: Ledger, truth: Truth, rule: str, basis: str) -> Iterator[Estimate]:
    said = ledger.request_energy
    if not said:
        return
    columns = truth.requests
    true = {
        request: (joules, as_metered)
        for request, method, row_basis, joules, as_metered in zip(
            columns["request"], columns["method"], columns["basis"], columns["total_j"], columns["as_metered_j"], strict=True
        )
        if (method, row_basis) == (rule, basis)
    }
    rows = zip(
        *(said[name] for name in ("request", "window", "domain", "basis", "total_j", "ci_low_j", "ci_high_j", "u_total_j")), strict=True
    )
    for request, window, domain, row_basis, *figures in rows:
        if (window, domain, row_basis) == (WINDOW, DOMAIN, basis) and int(request) >= 0:
            joules, low, high, u_total = (_or_null(figure) for figure in figures)
            limits = (low, high, joules - NORMAL_975 * u_total, joules + NORMAL_975 * u_total)
            yield Estimate(ledger.method, "request", joules, *limits, *true[int(request)])


def of_practice(practice: str, figures: dict[str, float], requests: dict[int, float], run: SimRun, truth: Truth) -> Iterator[Estimate]:
    """Figures without intervals, beside the truth (Shapley where steps are mixed)."""
    rule = rule_of(practice, truth)
    for figure, joules in figures.items():
        true = truth.row(WINDOW, DOMAIN, figure, rule)
        yield Estimate(practice, figure, joules, true_j=true.joules, as_metered_j=true.as_metered_j)
    columns = truth.requests
    rows = zip(columns["request"], columns["method"], columns["basis"], columns["total_j"], columns["as_metered_j"], strict=True)
    for request, method, basis, joules, as_metered in rows:
        if (method, basis) == (rule, "gross") and request in requests:
            yield Estimate(practice, "request", requests[request], true_j=joules, as_metered_j=as_metered)


def _or_null(value: float | None) -> float:
    return NULL if value is None else float(np.float64(value))
