"""Configurations ranked by energy per good request: those that meet the targets, ties with the best one, those that miss them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tpb_core.report.comparison.ratio import Ratio
from tpb_core.report.comparison.records import RunRecord
from tpb_core.report.pareto.configurations import Configuration, told_apart
from tpb_core.report.recommendation.goodput import Goodput, goodput_of, together
from tpb_core.store.targets import Target

BEST, TIE, MORE, MISSES, UNKNOWN = "least", "tie", "more", "misses", "unknown"


@dataclass(frozen=True)
class Candidate:
    """A configuration, its goodput, and its joules per good request: all energy of the window over the good requests.

    *least* and *tie*: the energies cannot be told apart. *more*: more for certain. *misses*: a target is missed. *unknown*: see `reason`.
    """

    configuration: Configuration
    goodput: Goodput
    energy: Ratio | None
    standing: str
    reason: str | None = None


def recommend(configurations: Sequence[Configuration], targets: Sequence[Target], scope: str) -> list[Candidate]:
    """Candidates in the order of their standing, then of their energy."""

    judged = {record.run_id: goodput_of(record, targets) for configuration in configurations for record in configuration.records}

    def good(record: RunRecord) -> float | None:
        return float(judged[record.run_id].good)

    drafts: list[Candidate] = []
    for configuration in configurations:
        goodput = together(judged[record.run_id] for record in configuration.records)
        energy = configuration.value(scope, good) if goodput.good and goodput.reason is None else None
        if goodput.reason is not None:
            drafts.append(Candidate(configuration, goodput, None, UNKNOWN, goodput.reason))
        elif not goodput.meets(targets):
            missed = [
                f"{target.text}: {100 * (goodput.share(n) or 0.0):.3g} % of {goodput.judged}"
                for n, (target, met) in enumerate(zip(targets, goodput.meets_each(targets), strict=True))
                if not met
            ]
            drafts.append(Candidate(configuration, goodput, energy, MISSES, "; ".join(missed)))
        elif energy is None or energy.value is None:
            drafts.append(Candidate(configuration, goodput, None, UNKNOWN, "a repeat without a good request"))
        else:
            few = "too few requests to show the percentile" if goodput.too_few(targets) else None
            drafts.append(Candidate(configuration, goodput, energy, MORE, few))
    meeting = sorted((draft for draft in drafts if draft.standing == MORE), key=_joules)
    ranked: list[Candidate] = []
    for number, draft in enumerate(meeting):
        standing = BEST if not number else MORE if told_apart(meeting[0].configuration, draft.configuration, scope, good) else TIE
        ranked.append(Candidate(draft.configuration, draft.goodput, draft.energy, standing, draft.reason))
    others = sorted((draft for draft in drafts if draft.standing != MORE), key=lambda draft: (draft.standing, _joules(draft)))
    # A tie is one with the best wherever it stands in the order of the values.
    order = (BEST, TIE, MORE)
    return sorted(ranked, key=lambda candidate: order.index(candidate.standing)) + others


def _joules(candidate: Candidate) -> float:
    return candidate.energy.value if candidate.energy is not None and candidate.energy.value is not None else float("inf")
