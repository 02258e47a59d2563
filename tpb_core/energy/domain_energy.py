"""Energy of one domain in one window: the total, the phases that its meter resolves, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tpb_core.api import EVIDENCE, Channel, Reason, Window
from tpb_core.energy.covariance import independent_sources
from tpb_core.energy.domains import Domain
from tpb_core.energy.figures import Figure, total_of
from tpb_core.energy.holes import LARGEST_SHARE, bridged, refilled
from tpb_core.energy.meters import ChannelMeter
from tpb_core.energy.regression import Fit, fit_window
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.shared_noise import shared_u_j
from tpb_core.energy.timeline import State

NODE_SCOPES = ("node", "rack", "psu", "outlet", "switch")
PHASE_OF = {State.PREFILL: "prefill", State.DECODE: "decode", State.IDLE: "idle"}
LEAST_CELLS = 2
LEAST_SAMPLES = 4
"""Of a sensor that looks only part of the time: fewer readings do not tell how far they are from the power between them."""
NO_TIME_S = 1e-9


@dataclass(frozen=True)
class DomainEnergy:
    """What is known of a domain in a window. `total` None goes with `reason`; a phase is in `phases` or in `phase_reasons`.

    `seconds` of each phase; `fits` tell steps apart.
    """

    total: Figure | None
    reason: Reason | None = None
    phases: dict[str, Figure] = field(default_factory=dict)
    phase_reasons: dict[str, Reason] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    evidence: str | None = None
    derivation: str = "metered"
    fits: tuple[Fit, ...] = ()


@dataclass(frozen=True)
class Piece:
    """What one channel gives for a window: figures by state and "total", the fit, and why it resolves no phases."""

    figures: dict[State | str, Figure]
    fit: Fit
    reason: Reason | None


def frame(
    energy: RunEnergy,
    domain: Domain,
    seconds: dict[str, float],
    reason: Reason | None,
    total: Figure | None = None,
) -> DomainEnergy:
    """A domain's energy without phases: what every method says of scopes, evidence and derivation; phases to be filled in."""
    scopes = tuple(dict.fromkeys(channel.scope for channel in domain.givers))
    evidence = "simulated" if energy.virtual else worst(channel.evidence for channel in domain.givers)
    derivation = "modelled" if domain.estimated else ("apportioned" if domain.share != 1.0 else "metered")
    reasons = {} if reason is None else dict.fromkeys(PHASE_OF.values(), reason)
    return DomainEnergy(total, reason, {}, reasons, dict(seconds), scopes, evidence, derivation)


def domain_energy(
    energy: RunEnergy,
    domain: Domain,
    window: Window,
    rates: Mapping[str, npt.NDArray[np.float64]] | None = None,
    *,
    largest_u_share: float,
) -> DomainEnergy:
    """Energy of a metered domain: its primary channel's, or the sum of its parts, times the share that the run owns.

    `rates` are what makes power vary within a state, where the step log tells it (`DomainWork.rates`). `largest_u_share`: a phase whose
    standard uncertainty is a larger share of the window's energy is NULL.
    """
    seconds = phase_seconds(energy, domain.name, window)
    pieces = [channel_piece(energy, domain, channel, window, rates) for channel in domain.givers]
    broken = next((piece for piece in pieces if isinstance(piece, Reason)), None)
    if broken is not None:
        return frame(energy, domain, seconds, broken)
    known = [piece for piece in pieces if isinstance(piece, Piece)]
    share = domain.share
    sums = _summed(energy, domain, known, window)
    total = sums["total"].scaled(share)
    result = frame(energy, domain, seconds, None, total)
    result = replace(result, fits=tuple(piece.fit for piece in known))
    unclear = _timeline_reason(energy, domain, window)
    reason = unclear or next((piece.reason for piece in known if piece.reason is not None), None)
    whole = window.duration_s - max(seconds.values()) < NO_TIME_S
    for state, phase in PHASE_OF.items():
        if unclear is None and seconds[phase] == 0.0:
            result.phases[phase] = Figure(0.0)
        elif unclear is None and whole:  # one phase fills the window: it is the total, whatever the meter resolves
            result.phases[phase] = total
        elif reason is not None:
            result.phase_reasons[phase] = reason
        else:
            figure = sums[state].scaled(share)
            if figure.u_without_calibration_j > largest_u_share * max(abs(total.joules), 1e-12):
                result.phase_reasons[phase] = Reason.UNCERTAINTY_TOO_LARGE
            else:
                result.phases[phase] = figure
    return result


def _summed(energy: RunEnergy, domain: Domain, pieces: list[Piece], window: Window) -> dict[State | str, Figure]:
    """Figures of the domain's parts added up, with what these err together."""
    names = dict.fromkeys(name for piece in pieces for name in piece.figures)
    sums = {name: total_of([piece.figures[name] for piece in pieces if name in piece.figures]) for name in names}
    for name, u_j in shared_u_j([(piece.figures, piece.fit) for piece in pieces], names).items():
        sums[name] = sums[name].with_term("noise", energy.once("parts", window.window, domain.name), u_j)
    return sums


def phase_seconds(energy: RunEnergy, domain: str, window: Window) -> dict[str, float]:
    """Seconds of each phase of a domain in a window."""
    t0_s, t1_s = energy.bounds_s(window)
    timeline = energy.timeline(domain)
    seconds = {phase: timeline.seconds(state, t0_s, t1_s) for state, phase in PHASE_OF.items()}
    return {phase: duration if duration > NO_TIME_S else 0.0 for phase, duration in seconds.items()}


def worst(evidences: Iterable[str]) -> str:
    """The worst of several kinds of evidence; `measured` for none."""
    ranks = [EVIDENCE.index(evidence) for evidence in evidences]
    return EVIDENCE[max(ranks)] if ranks else EVIDENCE[0]


def _timeline_reason(energy: RunEnergy, domain: Domain, window: Window) -> Reason | None:
    """Why the steps themselves do not tell the phases of this window apart."""
    if energy.activity.reason is not None:
        return energy.activity.reason
    present = energy.timeline(domain.name).states_within(*energy.bounds_s(window))
    return Reason.MIXED_STEPS if State.MIXED in present else None


def channel_piece(
    energy: RunEnergy, domain: Domain, channel: Channel, window: Window, rates: Mapping[str, npt.NDArray[np.float64]] | None
) -> Piece | Reason:
    """Figures by state from one channel, or why it gives nothing. `rates` are what makes power vary within a state."""
    meter = energy.meter(channel)
    t0_s, t1_s = energy.bounds_s(window)
    reason = unusable(meter, t0_s, t1_s, allocated=domain.allocated)
    if reason is not None:
        return reason
    others = [energy.meter(other).observations for other in domain.checks if other.channel != channel.channel]
    observations, holes = bridged(meter.observations, others, t0_s, t1_s)
    fit = fit_window(observations, energy.timeline(domain.name), t0_s, t1_s, meter.timing, energy.at_rest(channel), rates)
    figures = figures_of(energy, meter, fit, window)
    if holes:
        change_j, gap_u_j = refilled(holes, fit, observations.averaging_s)
        figures["total"] = (figures["total"] + Figure(change_j)).with_term(
            "gap", energy.once("gap", window.window, channel.channel), gap_u_j
        )
    reason = None
    if not meter.averaging_known:
        reason = Reason.NOT_RESOLVABLE if domain.scope in NODE_SCOPES else Reason.AVERAGING_UNKNOWN
    return Piece(figures, fit, reason)


def unusable(meter: ChannelMeter, t0_s: float, t1_s: float, *, allocated: bool = True) -> Reason | None:
    """Why a channel gives no energy for a window; None where it does."""
    observations = meter.observations
    if meter.reads == 0:
        return Reason.NO_READING
    if observations.first_read_s > t0_s or observations.last_read_s < t1_s:
        return Reason.NOT_BRACKETED
    if meter.stuck and (observations.increments or (allocated and _moves(meter))):
        return Reason.STUCK_SENSOR
    seconds = t1_s - t0_s
    if seconds < observations.refresh_s:
        return Reason.STALE_INTERVAL
    rows = observations.between(t0_s, t1_s)
    if seconds < 2 * observations.refresh_s or rows.stop - rows.start < LEAST_CELLS:
        return Reason.WINDOW_TOO_SHORT
    if not observations.increments and observations.coverage < 1 and observations.within(t0_s, t1_s) < LEAST_SAMPLES:
        return Reason.WINDOW_TOO_SHORT
    if float(observations.cell_lo_s[rows][0]) > t0_s or float(observations.cell_hi_s[rows][-1]) < t1_s:
        return Reason.NOT_BRACKETED
    if observations.hole_s(t0_s, t1_s) > LARGEST_SHARE * seconds:
        return Reason.GAP
    return None


def figures_of(energy: RunEnergy, meter: ChannelMeter, fit: Fit, window: Window) -> dict[State | str, Figure]:
    """A fit's energies as figures: covariances split into independent sources, timing by sensor, calibration by sensor and group."""
    names = fit.names
    figures: dict[State | str, Figure] = {name: Figure(float(fit.energy_j[k])) for k, name in enumerate(names)}
    for term, covariance in fit.covariances.items():
        for nth, vector in enumerate(independent_sources(covariance)):
            source = energy.once(term, window.window, meter.channel.channel, str(nth))
            for k, name in enumerate(names):
                figures[name] = figures[name].with_term(term, source, float(vector[k]), dof=fit.dof.get(term))
    for term, effect in fit.signed.items():
        source = energy.once("clock", meter.channel.node) if term == "clock" else meter.sensor
        for k, name in enumerate(names):
            figures[name] = figures[name].with_term(term, source, float(effect[k]))
    if meter.channel.resolution and meter.observations.increments:
        quantum = meter.channel.resolution / 12**0.5 * 2**0.5
        source = energy.once("resolution", window.window, meter.channel.channel)
        figures["total"] = figures["total"].with_term("resolution", source, quantum)
    return {name: meter.calibrated(figures[name], float(fit.durations_s[k])) for k, name in enumerate(names)}


def _moves(meter: ChannelMeter) -> bool:
    """Whether a live sensor of this kind would have moved: one whose step is small beside what it shows."""
    shown = float(abs(meter.observations.mean_w).max()) if len(meter.observations) else 0.0
    return meter.channel.resolution is not None and meter.channel.resolution < 0.01 * shown
