"""Energies that an imported source reported without samples: rows of evidence `reported`, beside and never within what was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tpb_core.api import BASES, PHASES, EnergyRow, Ledger, Reason, Window
from tpb_core.energy.intervals import interval
from tpb_core.energy.run_energy import RunEnergy

if TYPE_CHECKING:
    from tpb_core.api import Column

TABLE, METHOD, TOTAL = "reported", "totals/reported", "total"
EVIDENCE = "reported"
Stated = dict[str, tuple[float | None, float | None, float | None]]
"""Phase -> (joules, u without calibration, u total) as the source states them; None is NULL."""


def reported_ledger(energy: RunEnergy, version: str) -> Ledger | None:
    """The ledger of what was reported; None where nothing was.

    A phase that was not stated is NULL with `not_reported`, and an interval is there only where the source states an uncertainty. The
    run's total is the source's own; where it states none, the sum of its coarsest domains (by their names), without an uncertainty,
    because how their errors hang together is not known, and only where nothing in the run was measured.
    """
    columns = energy.run.columns(TABLE)
    if columns is None:
        return None
    ledger = Ledger(METHOD, version)
    lines: dict[str, dict[str, Stated]] = {}
    scopes: dict[str, str | None] = {channel.domain: channel.scope for channel in energy.run.channels}
    for row in range(len(columns["window"].values)):
        place, domain, phase = (str(columns[name].values[row]) for name in ("window", "domain", "phase"))
        joules, u, u_total = (_number(columns[name], row) for name in ("joules", "u_without_calibration_j", "u_total_j"))
        lines.setdefault(place, {}).setdefault(domain, {})[phase] = (joules, u, u_total)
        if columns["scope"].valid[row]:
            scopes.setdefault(domain, str(columns["scope"].values[row]))
    for window in energy.run.windows:
        domains = lines.get(window.window)
        if domains is None:
            continue
        scopes_of = {domain: [scope] if (scope := scopes.get(domain)) is not None else [] for domain in domains}
        if TOTAL not in domains and not energy.tree.coarsest():
            parts = coarsest(domains)
            domains[TOTAL] = _sum([domains[part] for part in parts])
            scopes_of[TOTAL] = list(dict.fromkeys(scope for part in parts for scope in scopes_of[part]))
        for domain, stated in domains.items():
            ledger.energy += _rows(window, domain, stated, scopes_of.get(domain, []))
    return ledger


def coarsest(domains: dict[str, Stated]) -> list[str]:
    """Domains that lie in no other one: `n0/gpu0` lies in `n0`."""
    return [name for name in domains if not any(name.startswith(f"{other}/") for other in domains)]


def _sum(parts: list[Stated]) -> Stated:
    """Phase by phase; NULL where one part does not say."""
    found: Stated = {}
    for phase in PHASES:
        joules = [part.get(phase, (None,))[0] for part in parts]
        known = [each for each in joules if each is not None]
        if len(known) == len(parts):
            found[phase] = (math.fsum(known), None, None)
    return found


def _rows(window: Window, domain: str, stated: Stated, scopes: list[str]) -> list[EnergyRow]:
    total = stated.get(TOTAL, (None, None, None))[0]
    rows: list[EnergyRow] = []
    for basis in BASES:
        for phase in PHASES:
            row = EnergyRow(window.window, domain, phase, METHOD, basis, scopes=list(scopes), evidence=EVIDENCE)
            rows.append(row)
            if basis != "gross":
                row.reason = Reason.NO_IDLE_WINDOW
            elif phase == "unattributed":
                parts = [joules for name, (joules, _, _) in stated.items() if name != TOTAL and joules is not None]
                row.joules = None if total is None else total - math.fsum(parts)
                row.reason = Reason.NOT_REPORTED if total is None else Reason.NO_CALIBRATION_DATA
            else:
                _fill(row, *stated.get(phase, (None, None, None)), window.duration_s if phase == TOTAL else None)
    return rows


def _fill(row: EnergyRow, joules: float | None, u: float | None, u_total: float | None, seconds: float | None) -> None:
    if joules is None:
        row.reason = Reason.NOT_REPORTED
        return
    row.joules, row.u_without_calibration_j, row.u_total_j = joules, u, u_total
    row.mean_w = joules / seconds if seconds else None
    if u is not None:
        row.ci_low_j, row.ci_high_j = interval(joules, u, None)
        row.ci_kind = "within_run"
    if u_total is None:
        row.reason = Reason.NO_CALIBRATION_DATA
    else:
        row.ci_total_low_j, row.ci_total_high_j = interval(joules, u_total, None)


def _number(column: Column, row: int) -> float | None:
    return float(column.values[row]) if column.valid[row] else None
