"""Energy of each request: the phases of the run's total, split by who took part in the steps and who was resident while nothing ran."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpb_core.api.ledger import BASES, REQUEST_ENERGY_COLUMNS
from tpb_core.energy.balance import PHASE_NAMES, Balance
from tpb_core.energy.figures import Key
from tpb_core.energy.intervals import coverage_factor
from tpb_core.energy.ledger import TOTAL, RunBalance
from tpb_core.energy.request_shares import Roster, Shares, roster_of, shares_by_residence, shares_by_tokens, step_seconds
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.timeline import State

if TYPE_CHECKING:
    from tpb_core.api import Window

Floats = npt.NDArray[np.float64]
ShareRule = Callable[[RunEnergy, Roster, str, str, "Window"], Shares]
"""(run, roster, phase, domain, window) -> how that domain's phase is split."""

NOBODY = -1


def by_step_time(energy: RunEnergy, roster: Roster, phase: str, domain: str, window: Window) -> Shares:
    """Each step weighs by its time, members of a step by their tokens; idle by residence."""
    if phase == "idle":
        return shares_by_residence(energy, roster, energy.timeline(domain), window)
    state = State.PREFILL if phase == "prefill" else State.DECODE
    return shares_by_tokens(energy, roster, step_seconds(energy, domain, window, state), state)


def request_energy(energy: RunEnergy, balance: RunBalance, method: str, rule: ShareRule = by_step_time) -> dict[str, Any]:
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
        shares = {(p, d): rule(energy, roster, p, d, window) for p in PHASE_NAMES for d in gross.contributors.get(p, [])}
        present = (roster.to_s > t0_s) & (roster.from_s < t1_s)
        for part in shares.values():
            present |= part.share > 0
        for basis in BASES:
            line = balance.lines[window.window, TOTAL, basis]
            if line.total is not None:
                tables.append(_table(balance, line, shares, roster, np.flatnonzero(present), (window.window, method, basis)))
    return {name: np.concatenate([table[name] for table in tables]) for name in REQUEST_ENERGY_COLUMNS} if tables else {}


def _table(
    balance: RunBalance, line: Balance, shares: dict[tuple[str, str], Shares], roster: Roster, rows: npt.NDArray[np.int64],
    key: tuple[str, str, str],
) -> dict[str, Any]:  # fmt: skip
    window, method, basis = key
    size = len(rows) + 1
    joules = {phase: np.zeros(size) if phase in line.phases else np.full(size, np.nan) for phase in PHASE_NAMES}
    effects: dict[Key, dict[str, Floats]] = {}
    calibration: set[Key] = set()
    noise = {phase: np.zeros(size) for phase in PHASE_NAMES}
    for (phase, domain), part in shares.items():
        figure = balance.lines[window, domain, basis].phases.get(phase)
        if figure is None:
            continue
        share = np.append(part.share[rows], part.rest)
        joules[phase] += share * figure.joules
        noise[phase][:-1] += balance.energies[window, domain].noise_j2_per_s * part.own_seconds[rows]
        if part.share_u is not None:
            noise[phase][:-1] += (part.share_u[rows] * figure.joules) ** 2
        for term, contribution in figure.terms.items():
            if contribution.calibration:
                calibration.add(term)
            by_phase = effects.setdefault(term, {})
            by_phase[phase] = by_phase.get(phase, np.zeros(size)) + share * contribution.du_j
    total = np.nansum(np.vstack([joules[phase] for phase in PHASE_NAMES]), axis=0)
    noise_total = sum((noise[phase] for phase in PHASE_NAMES), np.zeros(size))
    within = np.sqrt(_squares(effects, PHASE_NAMES, size, lambda term: term not in calibration) + noise_total)
    calibrated = line.total is not None and line.total.calibrated
    u_total = np.sqrt(_squares(effects, PHASE_NAMES, size, lambda term: True) + noise_total) if calibrated else np.full(size, np.nan)
    dof = line.total.dof(calibration=False) if line.total is not None else None
    k = coverage_factor(round(dof, 3) if dof is not None else None)
    u_phase = {
        phase: np.sqrt(_squares(effects, (phase,), size, lambda term: term not in calibration) + noise[phase]) + 0 * joules[phase]
        for phase in ("prefill", "decode")
    }
    reason = next((str(line.phase_reasons[phase]) for phase in PHASE_NAMES if phase in line.phase_reasons), None)
    return {
        "request": np.append(roster.request[rows], NOBODY).astype(np.int32),
        "window": _same(window, size), "domain": _same(TOTAL, size), "method": _same(method, size), "basis": _same(basis, size),
        "prefill_j": joules["prefill"], "decode_j": joules["decode"], "idle_j": joules["idle"], "total_j": total,
        "prefill_u_j": u_phase["prefill"], "decode_u_j": u_phase["decode"], "u_without_calibration_j": within, "u_total_j": u_total,
        "ci_low_j": total - k * within, "ci_high_j": total + k * within,
        "evidence": _same(line.evidence, size), "reason": _same(reason, size),
    }  # fmt: skip


def _squares(effects: dict[Key, dict[str, Floats]], phases: tuple[str, ...], size: int, wanted: Callable[[Key], bool]) -> Floats:
    """Sum over terms of the squared signed sum over phases."""
    result = np.zeros(size)
    for term, by_phase in effects.items():
        if wanted(term):
            result += sum((by_phase[phase] for phase in phases if phase in by_phase), np.zeros(size)) ** 2
    return result


def _same(value: str | None, size: int) -> npt.NDArray[np.object_]:
    column = np.empty(size, object)
    column[:] = value
    return column
