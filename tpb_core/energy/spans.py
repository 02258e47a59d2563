"""Spans: what undeclared estimates allow one to say. A range of joules from processor seconds, never a value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.api import BASES, PHASES, Channel, EnergyRow, Reason, Window
from tpb_core.energy.domain_energy import phase_seconds
from tpb_core.energy.run_energy import RunEnergy

Floats = npt.NDArray[np.float64]

LOW, HIGH = "x_span_w_per_core_low", "x_span_w_per_core_high"
TOTAL = "total"


def span_rows(energy: RunEnergy, window: Window, method: str, *, whole: bool) -> list[EnergyRow]:
    """Rows of every domain that has no meter but a stated span of watts a busy core; with `whole` also the run's total.

    `joules` and every u are NULL; `ci_low_j` and `ci_high_j` are processor seconds times the two ends of the span, phases by their share
    of the window's time. Net bases are NULL without limits: nothing is known of the static part.
    """
    rows: list[EnergyRow] = []
    sums = {phase: np.zeros(2) for phase in PHASES}
    scopes: list[str] = []
    answered = False
    for domain in energy.tree.domains.values():
        if domain.metered or not domain.spans:
            continue
        limits = {phase: np.zeros(2) for phase in PHASES}
        known = True
        for channel in domain.spans:
            cpu_s = processor_seconds(energy, channel, window)
            known &= cpu_s is not None
            shares = time_shares(energy, domain.name, window)
            for phase in PHASES:
                ends = np.array([float(channel.extensions[LOW]), float(channel.extensions[HIGH])])
                limits[phase] += ends * (cpu_s or 0.0) * shares.get(phase, 0.0)
        scope = [domain.scope] if domain.scope else []
        has_phases = energy.activity.reason is None
        rows += _rows(window.window, domain.name, method, limits if known else None, scope, has_phases)
        if domain.allocated and known:
            answered = True
            scopes += scope
            for phase in PHASES:
                sums[phase] += limits[phase]
    if whole and answered:
        rows += _rows(window.window, TOTAL, method, sums, list(dict.fromkeys(scopes)), energy.activity.reason is None)
    return rows


def processor_seconds(energy: RunEnergy, channel: Channel, window: Window) -> float | None:
    """Processor seconds spent in a window, interpolated between reads; None where the reads do not enclose it."""
    series = energy.run.series(channel.channel)
    if len(series.value) == 0 or series.t_ns[0] > window.t0_ns or series.t_ns[-1] < window.t1_ns:
        return None
    t_s = (series.t_ns - energy.origin_ns) / 1e9
    steps = np.maximum(np.diff(series.value, prepend=series.value[:1]), 0.0)  # a process that ended takes its seconds with it
    ends = np.interp(np.array(energy.bounds_s(window)), t_s, np.cumsum(steps))
    return float(ends[1] - ends[0])


def time_shares(energy: RunEnergy, domain: str, window: Window) -> dict[str, float]:
    """Each phase's share of the window's time; what no phase covers is unattributed."""
    seconds = phase_seconds(energy, domain, window) if energy.activity.reason is None else {}
    shares = {phase: duration / window.duration_s for phase, duration in seconds.items()}
    return {**shares, "total": 1.0, "unattributed": max(1.0 - sum(shares.values()), 0.0)}


def _rows(window: str, domain: str, method: str, limits: dict[str, Floats] | None, scopes: list[str], has_phases: bool) -> list[EnergyRow]:
    rows: list[EnergyRow] = []
    for basis in BASES:
        for phase in PHASES:
            derivation = "modelled" if phase == "total" else "apportioned"
            row = EnergyRow(window, domain, phase, method, basis, scopes=scopes, evidence="estimated", derivation=derivation)
            row.reason = Reason.NO_SENSOR
            stated = limits is not None and basis == "gross" and (has_phases or phase in ("total", "unattributed"))
            if stated and limits is not None:
                row.ci_kind = "span"
                row.ci_low_j, row.ci_high_j = float(limits[phase].min()), float(limits[phase].max())
            rows.append(row)
    return rows
