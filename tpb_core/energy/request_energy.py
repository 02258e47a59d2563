"""Energy of each request: the phases of the run's total, split by who took part in the steps and who was resident while nothing ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpb_core.api.ledger import BASES, REQUEST_ENERGY_COLUMNS
from tpb_core.energy.balance import PHASE_NAMES, Balance
from tpb_core.energy.domain_energy import DomainEnergy
from tpb_core.energy.ledger import TOTAL, RunBalance
from tpb_core.energy.request_effects import RequestEffects
from tpb_core.energy.request_shares import Roster, Shares, roster_of, shares_by_residence, shares_by_tokens, step_seconds
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.timeline import State

if TYPE_CHECKING:
    from tpb_core.api import Window

Floats = npt.NDArray[np.float64]
ShareRule = Callable[[RunEnergy, Roster, str, str, "Window", DomainEnergy], Shares]
"""(run, roster, phase, domain, window, what is known of the domain there) -> how that domain's phase is split."""

NOBODY = -1


def by_step_energy(energy: RunEnergy, roster: Roster, phase: str, domain: str, window: Window, known: DomainEnergy) -> Shares:
    """Each step weighs by what the regression says that it took, members of a step by their tokens; idle by residence."""
    if phase == "idle":
        return shares_by_residence(energy, roster, energy.timeline(domain), window)
    state = State.PREFILL if phase == "prefill" else State.DECODE
    seconds = step_seconds(energy, domain, window, state)
    return shares_by_tokens(energy, roster, _fitted_j(energy, known, window, seconds), state)


def _fitted_j(energy: RunEnergy, known: DomainEnergy, window: Window, seconds: Floats) -> Floats:
    """Energy of each step as the fits of a domain see it, for `seconds` of it; the seconds where they say nothing."""
    rows = np.flatnonzero(seconds > 0)
    t0_s, t1_s = (np.clip(edge[rows], *energy.bounds_s(window)) for edge in (energy.activity.t0_s, energy.activity.t1_s))
    joules = sum((np.maximum(fit.joules_of(t0_s, t1_s), 0.0) for fit in known.fits), np.zeros(len(rows)))
    if joules.sum() <= 0:
        return seconds
    weight = np.zeros(len(seconds))
    weight[rows] = joules * seconds[rows] / np.maximum(t1_s - t0_s, 1e-12)
    return weight


def request_energy(energy: RunEnergy, balance: RunBalance, method: str, rule: ShareRule = by_step_energy) -> dict[str, Any]:
    """Columns of request_energy for the run's total in every window in which steps ran; empty where no member is known.

    Rows of one (window, basis) and request -1 add up to the total's phases.
    """
    tables: list[dict[str, Any]] = []
    if energy.activity.members is None or energy.activity.reason is not None:
        return {}
    roster = roster_of(energy)
    for window in energy.run.windows:
        if (window.window, TOTAL, "gross") not in balance.lines:
            continue
        gross = balance.lines[window.window, TOTAL, "gross"]
        if gross.total is None or not (gross.contributors.get("prefill") or gross.contributors.get("decode")):
            continue
        t0_s, t1_s = energy.bounds_s(window)
        if not any(energy.timeline(name).states_within(t0_s, t1_s) for name in gross.contributors.get("idle", [])):
            continue
        known = {name: balance.energies[window.window, name] for names in gross.contributors.values() for name in names}
        shares = {(p, d): rule(energy, roster, p, d, window, known[d]) for p in PHASE_NAMES for d in gross.contributors.get(p, [])}
        present = (roster.to_s > t0_s) & (roster.from_s < t1_s)
        for part in shares.values():
            present |= part.share > 0
        for basis in BASES:
            line = balance.lines[window.window, TOTAL, basis]
            if line.total is not None:
                tables.append(_table(balance, line, shares, roster, np.flatnonzero(present), (window, method, basis)))
    return {name: np.concatenate([table[name] for table in tables]) for name in REQUEST_ENERGY_COLUMNS} if tables else {}


def _table(
    balance: RunBalance, line: Balance, shares: dict[tuple[str, str], Shares], roster: Roster, rows: npt.NDArray[np.int64],
    key: tuple[Window, str, str],
) -> dict[str, Any]:  # fmt: skip
    window, method, basis = key
    size = len(rows) + 1
    joules = {phase: np.zeros(size) if phase in line.phases else np.full(size, np.nan) for phase in PHASE_NAMES}
    effects = RequestEffects(size)
    scatter = {domain: _scatter(balance, shares, domain, window) for domain in {domain for _, domain in shares}}
    for (phase, domain), part in shares.items():
        figure = balance.lines[window.window, domain, basis].phases.get(phase)
        if figure is None:
            continue
        gross = balance.lines[window.window, domain, "gross"].phases[phase]
        joules[phase] += np.append(part.share[rows], part.rest) * figure.joules
        effects.add_figure(phase, figure, gross, part, rows)
        effects.add_alone(phase, scatter[domain] * gross.joules**2 * part.own[rows], None)
        if part.spread is not None:
            effects.add_alone(phase, (part.spread[rows] * figure.joules) ** 2, part.spread_dof)
    total = np.nansum(np.vstack([joules[phase] for phase in PHASE_NAMES]), axis=0)
    within = effects.u_j(PHASE_NAMES, calibration=False)
    calibrated = line.total is not None and line.total.calibrated
    u_total = effects.u_j(PHASE_NAMES, calibration=True) if calibrated else np.full(size, np.nan)
    half = effects.coverage_factors(PHASE_NAMES) * within
    reason = next((str(line.phase_reasons[phase]) for phase in PHASE_NAMES if phase in line.phase_reasons), None)
    return {
        "request": np.append(roster.request[rows], NOBODY).astype(np.int32),
        "window": _same(window.window, size), "domain": _same(TOTAL, size), "method": _same(method, size), "basis": _same(basis, size),
        "prefill_j": joules["prefill"], "decode_j": joules["decode"], "idle_j": joules["idle"], "total_j": total,
        "prefill_u_j": effects.u_j(["prefill"], calibration=False) + 0 * joules["prefill"],
        "decode_u_j": effects.u_j(["decode"], calibration=False) + 0 * joules["decode"],
        "u_without_calibration_j": within, "u_total_j": u_total, "ci_low_j": total - half, "ci_high_j": total + half,
        "evidence": _same(line.evidence, size), "reason": _same(reason, size),
    }  # fmt: skip


def _scatter(balance: RunBalance, shares: dict[tuple[str, str], Shares], domain: str, window: Window) -> float:
    """Relative variance of the energy of a domain's steps that explains the scatter seen in the window: it is in proportion to them."""
    line = balance.lines[window.window, domain, "gross"]
    steps_j2 = sum(line.phases[p].joules ** 2 * part.steps for (p, d), part in shares.items() if d == domain and p in line.phases)
    seen_j2 = balance.energies[window.window, domain].noise_j2_per_s * window.duration_s
    return seen_j2 / steps_j2 if steps_j2 > 0 else 0.0


def _same(value: str | None, size: int) -> npt.NDArray[np.object_]:
    column = np.empty(size, object)
    column[:] = value
    return column
