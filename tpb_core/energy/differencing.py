"""Differencing: runs with one output token against runs with many; what the many cost more is decode. Needs nothing from inside engines.

For each pair k: prefill = E(1) - idle(1), decode = (E(N) - idle(N)) - (E(1) - idle(1)), idle = idle(N), total = E(N).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tpb_core.api import BASES, PHASES, BudgetRow, EnergyRow, Ledger, PreconditionFailed, Reason
from tpb_core.energy.balance import Balance
from tpb_core.energy.domain_energy import domain_energy, phase_seconds
from tpb_core.energy.domain_work import DomainWork
from tpb_core.energy.figures import Figure, total_of
from tpb_core.energy.intervals import interval
from tpb_core.energy.ledger import TOTAL, RunBalance, balance_of
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.static_power import static_power
from tpb_core.energy.study_intervals import mean_of

if TYPE_CHECKING:
    from tpb_core.api import RunView

WINDOW = "measure"
LEAST_PAIRS = 3
LENGTHS = ("max_output_tokens", "output_tokens", "exact_output_length")
LEFT_OUT = ("out", "run", "attributors", "attributor")


@dataclass(frozen=True)
class Measured:
    """One run as differencing sees it: requests, input and output tokens of the window's finished work, and its balance."""

    run: RunView
    energy: RunEnergy
    balance: RunBalance
    requests: int
    inputs: int
    outputs: int

    @property
    def one_token(self) -> bool:
        """Whether every request put out exactly one token, so that nothing was decoded."""
        return self.outputs == self.requests


@dataclass(frozen=True)
class Pair:
    """A run with one output token and one with many, of one repeat."""

    first: Measured
    second: Measured


def measured(run: RunView) -> Measured:
    """Totals of one run, and its work."""
    energy = RunEnergy(run)
    work = DomainWork(energy)
    balance = balance_of(energy, lambda e, domain, window: domain_energy(e, domain, window, work.rates(domain.name), largest_u_share=1.0))
    table = run.columns("requests")
    requests = inputs = outputs = 0
    if table is not None and "output_tokens" in table and "input_tokens" in table:
        mine = table["status"].values.astype(str) == "ok"
        if "role" in table:
            mine &= table["role"].values.astype(str) != "warmup"
        requests = int(mine.sum())
        inputs, outputs = int(table["input_tokens"].values[mine].sum()), int(table["output_tokens"].values[mine].sum())
    return Measured(run, energy, balance, requests, inputs, outputs)


def pairs_of(runs: Sequence[Measured]) -> dict[str, list[Pair]]:
    """Pairs by the point with many tokens: equal configuration but for the output length, and equal repeat.

    Raises PreconditionFailed: `arms` without both kinds of run, `pairs` for fewer than three, `same_work` where a pair differs in
    requests or input tokens, `prefix_cache` where prompts were reused.
    """
    for one in runs:
        if (one.run.manifest.get("engine") or {}).get("prefix_cache") is True:
            raise PreconditionFailed("prefix_cache", f"run {one.run.run_id} reused cached prompts, so its prefill is not the whole one")
    singles = {(_rest(one.run), _repeat(one.run)): one for one in runs if one.requests and one.one_token}
    found: dict[str, list[Pair]] = {}
    for many in runs:
        if many.requests and not many.one_token:
            single = singles.get((_rest(many.run), _repeat(many.run)))
            if single is not None:
                if (single.requests, single.inputs) != (many.requests, many.inputs):
                    raise PreconditionFailed(
                        "same_work", f"runs {single.run.run_id} and {many.run.run_id} differ in requests or input tokens"
                    )
                found.setdefault(_point(many.run), []).append(Pair(single, many))
    if not found:
        raise PreconditionFailed(
            "arms", "no two runs differ only in their output length, one of them with one token", "Measure pairs:  tpb +experiment=phases"
        )
    few = {point: len(pairs) for point, pairs in found.items() if len(pairs) < LEAST_PAIRS}
    if few:
        raise PreconditionFailed(
            "pairs", f"{min(few.values())} pairs are too few for an interval; {LEAST_PAIRS} are needed", "Type: run.repeats=5"
        )
    return found


def difference(pairs: list[Pair], point: str, method: str, version: str) -> Ledger:
    """The ledger of one point: mean over pairs, intervals between runs."""
    runs = [side.run.run_id for pair in pairs for side in (pair.first, pair.second)]
    parameters = {"pairs": len(pairs), "window": WINDOW, "runs": runs}
    ledger = Ledger(method, version, parameters, point=point, arm=_arm(pairs[0].second.run))
    domains = dict.fromkeys(domain for name, domain, _ in pairs[0].second.balance.lines if name == WINDOW)
    for domain in domains:
        for basis in BASES:
            _add(ledger, pairs, domain, basis)
    return ledger


def _add(ledger: Ledger, pairs: list[Pair], domain: str, basis: str) -> None:
    lines = [(p.first.balance.lines.get((WINDOW, domain, basis)), p.second.balance.lines.get((WINDOW, domain, basis))) for p in pairs]
    known = [(a, b) for a, b in lines if a is not None and b is not None and a.total is not None and b.total is not None]
    second = next((b for _, b in lines if b is not None), None)
    if len(known) < len(pairs) or second is None:
        reason = next((line.reason for both in lines for line in both if line is not None and line.reason), None) or Reason.DOMAIN_MISSING
        ledger.energy += [EnergyRow(WINDOW, domain, phase, ledger.method, basis, reason=reason) for phase in PHASES]
        return
    idle = [(_idle(p.first, domain, basis), _idle(p.second, domain, basis)) for p in pairs]
    total = [b.total or Figure(0.0) for _, b in known]
    single = [a.total or Figure(0.0) for a, _ in known]
    parts: dict[str, list[Figure]] = {"total": total}
    if all(a is not None and b is not None for a, b in idle):
        first, last = [a or Figure(0.0) for a, _ in idle], [b or Figure(0.0) for _, b in idle]
        parts["prefill"] = [e - i for e, i in zip(single, first, strict=True)]
        parts["idle"] = last
        parts["decode"] = [e - i - p for e, i, p in zip(total, last, parts["prefill"], strict=True)]
    else:
        parts["decode"] = [b - a for a, b in zip(single, total, strict=True)]
    means = {phase: _mean(figures, pairs, phase) for phase, figures in parts.items()}
    means["unattributed"] = means["total"] - total_of([figure for phase, figure in means.items() if phase != "total"])
    evidence = known[0][1].evidence
    for phase in PHASES:
        row = EnergyRow(WINDOW, domain, phase, ledger.method, basis, scopes=list(second.scopes), evidence=evidence, derivation="metered")
        if phase not in means:
            row.reason = Reason.NO_IDLE_WINDOW
        else:
            _fill(row, means[phase])
            keyed = means[phase].terms.items()
            ledger.budget += [
                BudgetRow(WINDOW, domain, phase, ledger.method, basis, t, s, v.du_j, v.dof, v.calibration) for (t, s), v in keyed
            ]
        ledger.energy.append(row)


def _mean(figures: list[Figure], pairs: list[Pair], phase: str) -> Figure:
    """Mean over runs. What happened once in a run shows in the scatter between runs and is replaced by it; a sensor's own errors stay."""
    average = total_of(figures).scaled(1 / len(figures))
    once = {f"{side.run.run_id}/" for pair in pairs for side in (pair.first, pair.second)}
    kept = {key: term for key, term in average.terms.items() if not any(key[1].startswith(prefix) for prefix in once)}
    between = mean_of(np.array([figure.joules for figure in figures]))
    result = Figure(average.joules, kept, average.calibrated)
    run = pairs[0].second.run
    once_in = f"{(run.manifest.get('study') or {}).get('study_id') or run.run_id}/{_point(run)}/{phase}"
    return result if between is None else result.with_term("between_runs", once_in, between.u, dof=between.dof)


def _fill(row: EnergyRow, figure: Figure) -> None:
    row.joules, row.ci_kind = figure.joules, "between_runs"
    row.u_without_calibration_j, row.u_total_j = figure.u_without_calibration_j, figure.u_total_j
    row.dof = figure.dof(calibration=False)
    row.ci_low_j, row.ci_high_j = interval(figure.joules, row.u_without_calibration_j, row.dof)
    if row.u_total_j is None:
        row.reason = Reason.NO_CALIBRATION_DATA
    else:
        row.ci_total_low_j, row.ci_total_high_j = interval(figure.joules, row.u_total_j, figure.dof(calibration=True))


def _idle(one: Measured, domain: str, basis: str) -> Figure | None:
    """Energy of the time in which no step ran: static power times its duration, on the basis; None where either is not known."""
    window = one.energy.window(WINDOW)
    if window is None or one.energy.activity.reason is not None:
        return None
    if domain == TOTAL:
        chosen = [name for name in one.energy.tree.coarsest() if one.energy.tree.domains[name].allocated]
        parts = [_idle(one, name, basis) for name in chosen]
        return total_of([part for part in parts if part is not None]) if parts and all(part is not None for part in parts) else None
    if domain not in one.energy.tree.domains:
        return None
    seconds = phase_seconds(one.energy, domain, window)["idle"]
    loaded = static_power(one.energy, domain, "net_loaded", one.balance.energies)
    if loaded is None:
        return Figure(0.0) if seconds == 0.0 else None
    removed = None if basis == "gross" else static_power(one.energy, domain, basis, one.balance.energies)
    power = loaded if removed is None else loaded - removed
    return power.scaled(seconds)


def _rest(run: RunView) -> str:
    """The configuration without the output length, where a study put it, and what does not belong to a point."""
    config = run.manifest.get("config") or {}
    kept = {key: value for key, value in config.items() if key not in LEFT_OUT}
    return json.dumps(_without_lengths(kept), sort_keys=True, default=str)


def _without_lengths(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_lengths(inner) for key, inner in value.items() if key not in LENGTHS}
    return [_without_lengths(inner) for inner in value] if isinstance(value, list) else value


def _repeat(run: RunView) -> Any:
    return (run.manifest.get("study") or {}).get("repeat")


def _point(run: RunView) -> str:
    return str((run.manifest.get("study") or {}).get("point") or run.run_id)


def _arm(run: RunView) -> str | None:
    arm = (run.manifest.get("study") or {}).get("arm")
    return None if arm is None else str(arm)


__all__ = ["Balance", "Measured", "Pair", "difference", "measured", "pairs_of"]
