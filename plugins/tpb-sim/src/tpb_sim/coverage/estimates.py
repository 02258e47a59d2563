"""One figure as somebody stated it, whoever it was: an attributor with intervals, or a common practice without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tpb_core.api import Ledger
from tpb_sim.memory_run import SimRun
from tpb_sim.truth import RULES, Truth

WINDOW, DOMAIN = "measure", "total"
NULL = math.nan


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
    """The split rule behind a method name such as `steps/incremental`; `pure` where it names none and the window needs none."""
    variant = method.rsplit("/", 1)[-1]
    if variant in RULES:
        return variant
    pure = any((row.window, row.method) == (WINDOW, "pure") for row in truth.phases)
    return "pure" if pure else "shapley"


def of_ledger(ledger: Ledger, truth: Truth, basis: str) -> Iterator[Estimate]:
    """The figures of window `measure` over all metered domains, and those of its requests, beside the truth."""
    rule = rule_of(ledger.method, truth)
    for row in ledger.energy:
        if (row.window, row.domain, row.basis) != (WINDOW, DOMAIN, basis) or row.phase == "unattributed":
            continue
        true = truth.row(WINDOW, DOMAIN, row.phase, rule, basis)
        joules, low, high, total_low, total_high = (
            _or_null(v) for v in (row.joules, row.ci_low_j, row.ci_high_j, row.ci_total_low_j, row.ci_total_high_j)
        )
        yield Estimate(ledger.method, row.phase, joules, low, high, total_low, total_high, true.joules, true.as_metered_j)
    yield from _of_requests(ledger, truth, rule, basis)


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
        said["request"], said["window"], said["domain"], said["basis"], said["total_j"], said["ci_low_j"], said["ci_high_j"], strict=True
    )
    for request, window, domain, row_basis, joules, low, high in rows:
        if (window, domain, row_basis) == (WINDOW, DOMAIN, basis) and int(request) >= 0:
            exact, as_metered = true[int(request)]
            yield Estimate(ledger.method, "request", _or_null(joules), _or_null(low), _or_null(high), true_j=exact, as_metered_j=as_metered)


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
