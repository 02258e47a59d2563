"""Energy of each request: the phases of the run's total, split by who took part in the steps and who was resident while nothing ran."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpb_core.api.ledger import BASES, REQUEST_ENERGY_COLUMNS
from tpb_core.energy.balance import PHASE_NAMES, Balance
from tpb_core.energy.domain_energy import DomainEnergy
from tpb_core.energy.fit_scatter import left_by_fits, moved_powers, scatter_of_fits
from tpb_core.energy.ledger import TOTAL, RunBalance
from tpb_core.energy.request_effects import RequestEffects
from tpb_core.energy.request_shares import BY_TOKENS, Roster, Shares, roster_of, shares_by_members, shares_by_residence, step_seconds
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.step_scatter import StepScatter
from tpb_core.energy.timeline import State

if TYPE_CHECKING:
    from tpb_core.api import Window

Floats = npt.NDArray[np.float64]
ShareRule = Callable[[RunEnergy, Roster, str, str, "Window", DomainEnergy], Shares]
"""(run, roster, phase, domain, window, what is known of the domain there) -> how that domain's phase is split."""

NOBODY = -1


@dataclass(frozen=True)
class _Seen:
    """What the fits of a domain in a window say whatever the phase: scatter of steps, other credible powers by fit, degrees of freedom."""

    scatter: StepScatter | None
    moved: list[Floats]
    dof: float | None


class StepEnergyShares:
    """Each step weighs by what the regression says that it took, members of a step by their tokens; idle by residence. A `ShareRule`."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}

    def __call__(self, energy: RunEnergy, roster: Roster, phase: str, domain: str, window: Window, known: DomainEnergy) -> Shares:
        if phase == "idle":
            return shares_by_residence(energy, roster, energy.timeline(domain), window)
        state = State.PREFILL if phase == "prefill" else State.DECODE
        if (domain, window.window) not in self._seen:
            self._seen[domain, window.window] = _seen_by_fits(energy, domain, window, known)
        seen = self._seen[domain, window.window]
        weights = _fitted_j(energy, known, window, step_seconds(energy, domain, window, state), seen.moved)
        shares, *moved = shares_by_members(energy, roster, weights, state, [BY_TOKENS] * weights.shape[1], 1)
        spread = np.sqrt(sum(((other.share - shares.share) ** 2 for other in moved), np.zeros(len(shares.share))))
        return replace(shares, scatter=seen.scatter, spread=spread, spread_dof=seen.dof)


def _seen_by_fits(energy: RunEnergy, domain: str, window: Window, known: DomainEnergy) -> _Seen:
    left = left_by_fits(energy, domain, window, known)
    moved = [moved_powers(part, fit) for part, fit in zip(left, known.fits, strict=True)]
    dof = min((max(part.readings - part.unknowns, 1.0) for part in left), default=None)
    return _Seen(scatter_of_fits(energy, domain, window, known, left), moved, dof)


def _fitted_j(energy: RunEnergy, known: DomainEnergy, window: Window, seconds: Floats, moved: list[Floats]) -> Floats:
    """Energy of each step as the fits of a domain see it, for `seconds` of it; the seconds where they say nothing. In further columns:
    as one of them sees it with `moved` powers (a row each).
    """
    rows = np.flatnonzero(seconds > 0)
    t0_s, t1_s = (np.clip(edge[rows], *energy.bounds_s(window)) for edge in (energy.activity.t0_s, energy.activity.t1_s))
    inside = [fit.columns.until(t1_s) - fit.columns.until(t0_s) for fit in known.fits]
    said = [part @ fit.powers_w for part, fit in zip(inside, known.fits, strict=True)]
    whole = sum(said, np.zeros(len(rows)))
    if np.maximum(whole, 0.0).sum() <= 0:
        return seconds[:, None]
    others = [(whole - mine)[:, None] + part @ powers.T for mine, part, powers in zip(said, inside, moved, strict=True)]
    weight = np.zeros((len(seconds), 1 + sum(len(powers) for powers in moved)))
    weight[rows] = np.maximum(np.column_stack([whole, *others]), 0.0) * (seconds[rows] / np.maximum(t1_s - t0_s, 1e-12))[:, None]
    return weight


def request_energy(energy: RunEnergy, balance: RunBalance, method: str, rule: ShareRule | None = None) -> dict[str, Any]:
    """Columns of request_energy for the run's total in every window in which steps ran; empty where no member is known.

    Rows of one (window, basis) and request -1 add up to the total's phases. Without a `rule`, `StepEnergyShares`.
    """
    rule = rule or StepEnergyShares()
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
    for (phase, domain), part in shares.items():
        figure = balance.lines[window.window, domain, basis].phases.get(phase)
        if figure is None:
            continue
        gross = balance.lines[window.window, domain, "gross"].phases[phase]
        joules[phase] += np.append(part.share[rows], part.rest) * figure.joules
        effects.add_figure(phase, figure, gross, part, rows)
        if part.scatter is not None:
            effects.add_alone(phase, part.scatter.relative2 * gross.joules**2 * part.own[rows], part.scatter.dof)
            effects.add_common(("drift", domain), phase, part.scatter.drift2**0.5 * gross.joules * part.share[rows])
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


def _same(value: str | None, size: int) -> npt.NDArray[np.object_]:
    column = np.empty(size, object)
    column[:] = value
    return column
