"""Assembly of a ledger: every domain, rest and total of every window on every basis, as rows with intervals and budgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tpb_core.api import BASES, PHASES, BudgetRow, EnergyRow, Ledger, Reason, Window
from tpb_core.energy.balance import Balance, node_rest, on_basis, run_total
from tpb_core.energy.domain_energy import DomainEnergy
from tpb_core.energy.domains import Domain
from tpb_core.energy.figures import Figure
from tpb_core.energy.intervals import interval
from tpb_core.energy.peaks import peak_of_one, peak_of_sum
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.spans import span_rows
from tpb_core.energy.static_power import static_power

DomainMethod = Callable[[RunEnergy, Domain, Window], DomainEnergy]
"""How a method gets the energy of one domain in one window."""

TOTAL = "total"


@dataclass
class RunBalance:
    """All lines of a run by (window, domain, basis), and the energies that they came from by (window, domain)."""

    energies: dict[tuple[str, str], DomainEnergy] = field(default_factory=dict)
    lines: dict[tuple[str, str, str], Balance] = field(default_factory=dict)


def balance_of(energy: RunEnergy, method: DomainMethod) -> RunBalance:
    """Apply a method to every metered domain in every window, and close the balance of each window."""
    balance = RunBalance()
    windows = [window for window in energy.run.windows if window.t1_ns > window.t0_ns]
    metered = [domain for domain in energy.tree.domains.values() if domain.metered]
    for window in windows:
        for domain in metered:
            balance.energies[window.window, domain.name] = method(energy, domain, window)
    idle = {(d.name, basis): static_power(energy, d.name, basis, balance.energies) for d in metered for basis in BASES if basis != "gross"}
    for window in windows:
        for basis in BASES:
            gross = basis == "gross"
            lines = {
                d.name: on_basis(
                    balance.energies[window.window, d.name],
                    idle[d.name, "net_loaded" if gross else basis],
                    window.duration_s,
                    gross=gross,
                )
                for d in metered
            }
            for node in [d.name for d in metered]:
                if (rest := node_rest(energy.tree, lines, node)) is not None and energy.tree.domains[node].scope == "node":
                    balance.lines[window.window, f"{node}/rest", basis] = rest
            for name, line in lines.items():
                balance.lines[window.window, name, basis] = line
            if (total := run_total(energy.tree, lines, window.duration_s)) is not None:
                balance.lines[window.window, TOTAL, basis] = total
    return balance


def ledger_of(energy: RunEnergy, balance: RunBalance, method: str, version: str, parameters: dict[str, Any]) -> Ledger:
    """The ledger's energy and budget rows. Requests and validity are added by the attributor."""
    ledger = Ledger(method, version, dict(parameters))
    for window in energy.run.windows:
        if window.t1_ns <= window.t0_ns:
            continue
        peaks = _peaks(energy, window, balance)
        domains = dict.fromkeys(domain for name, domain, _ in balance.lines if name == window.window)
        spans = span_rows(energy, window, method, whole=TOTAL not in domains)
        for domain in sorted(domains, key=lambda name: (name == TOTAL, name)):
            for basis in BASES:
                line = balance.lines[window.window, domain, basis]
                _add(ledger, line, (window.window, domain, method, basis), window.duration_s, peaks.get(domain))
        if TOTAL not in domains and not any(row.domain == TOTAL for row in spans):
            spans += _unmeasured(window.window, method)
        ledger.energy += spans
    if energy.lags:
        ledger.parameters["lags"] = {name: lag.described() for name, lag in energy.lags.items()}
    if any(row.ci_kind == "span" for row in ledger.energy):
        ledger.parameters["span_phases"] = "time share"
    return ledger


def _add(ledger: Ledger, line: Balance, key: tuple[str, str, str, str], duration_s: float, peak: tuple[float, float] | None) -> None:
    window, domain, method, basis = key
    figures: dict[str, Figure | None] = {phase: line.phases.get(phase) for phase in PHASES}
    figures["total"], figures["unattributed"] = line.total, line.unattributed
    for phase in PHASES:
        row = EnergyRow(window, domain, phase, method, basis, scopes=list(line.scopes), evidence=line.evidence, derivation=line.derivation)
        figure = figures[phase]
        if figure is None:
            row.reason = line.reason or line.phase_reasons.get(phase) or Reason.NOT_RESOLVABLE
            ledger.energy.append(row)
            continue
        seconds = {**line.seconds, "total": duration_s}.get(phase)
        _fill(row, figure, seconds)
        row.of_which_static_j = line.static_j.get(phase)
        if phase == "total" and basis == "gross" and peak is not None:
            row.peak_w, row.peak_averaging_ms = peak[0], peak[1] * 1e3
        ledger.energy.append(row)
        ledger.budget += [
            BudgetRow(window, domain, phase, method, basis, term, source, part.du_j, part.dof, part.calibration)
            for (term, source), part in figure.terms.items()
        ]


def _fill(row: EnergyRow, figure: Figure, seconds: float | None) -> None:
    """Value, uncertainties and 95 % intervals of a row; `no_calibration_data` stands beside a NULL `u_total_j`."""
    row.joules = figure.joules
    row.u_without_calibration_j = figure.u_without_calibration_j
    row.dof = figure.dof(calibration=False)
    row.ci_low_j, row.ci_high_j = interval(figure.joules, row.u_without_calibration_j, row.dof)
    row.ci_kind = "within_run"
    row.u_total_j = figure.u_total_j
    if row.u_total_j is None:
        row.reason = Reason.NO_CALIBRATION_DATA
    else:
        row.ci_total_low_j, row.ci_total_high_j = interval(figure.joules, row.u_total_j, figure.dof(calibration=True))
    row.mean_w = figure.joules / seconds if seconds else None


def _unmeasured(window: str, method: str) -> list[EnergyRow]:
    return [EnergyRow(window, TOTAL, phase, method, basis, reason=Reason.NO_SENSOR) for basis in BASES for phase in PHASES]


def _peaks(energy: RunEnergy, window: Window, balance: RunBalance) -> dict[str, tuple[float, float]]:
    """Peak power of every domain that has a figure, and of the total where nothing has to be subtracted from it."""
    t0_s, t1_s = energy.bounds_s(window)
    peaks: dict[str, tuple[float, float]] = {}
    tree = energy.tree
    for name, domain in tree.domains.items():
        known = balance.energies.get((window.window, name))
        if known is not None and known.total is not None and domain.share == 1.0:
            meters = [energy.meter(channel).observations for channel in domain.givers]
            peak = peak_of_one(meters[0], t0_s, t1_s) if len(meters) == 1 else peak_of_sum(meters, t0_s, t1_s)
            if peak is not None:
                peaks[name] = peak
    chosen = [name for name in tree.coarsest() or tree.coarsest(estimates=True) if tree.domains[name].allocated]
    plain = all(name in peaks and not tree.unallocated_within(name) for name in chosen)
    if len(chosen) == 1 and plain:
        peaks[TOTAL] = peaks[chosen[0]]
    elif chosen and plain:
        meters = [energy.meter(channel).observations for name in chosen for channel in tree.domains[name].givers]
        if (peak := peak_of_sum(meters, t0_s, t1_s)) is not None:
            peaks[TOTAL] = peak
    return peaks
