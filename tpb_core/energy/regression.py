"""The filtered regression: power of each state in a window from one channel, the window's energy, and their joint uncertainty.

Readings are regressed on phase indicators filtered as the sensor filters (docs/explanation/measuring-power.md). The window's energy is
the plain sum over cells plus what the fitted model says was smeared over its edges; increments there are divided by `window_edges`.
Phases are coefficient times duration; they are not fitted to the total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.energy.alignment import Alignment, Timing, align
from tpb_core.energy.at_rest import AtRest
from tpb_core.energy.columns import Columns
from tpb_core.energy.covariance import Increments, error_covariances, increment_stamps
from tpb_core.energy.observations import Observations
from tpb_core.energy.timeline import State, Timeline
from tpb_core.energy.whole_steps import neighbours, whole_steps
from tpb_core.energy.window_edges import Seen, beside, divide_increments, power_at_stamps

Floats = npt.NDArray[np.float64]

PAD_CELLS = 5
MOST_INCREMENTS = 80_000
"""A finer series of increments is joined to about so many: it costs resolution that a window of this length does not need."""
PROBE_S = 1e-3
RIDGE = 1e-9
MOST_LEVERAGE = 0.99
PRIOR_SPREADS = 2.0


@dataclass(frozen=True)
class Fit:
    """Energies of a window from one channel. `names[0]` is "total", then the states that occur in it; vectors follow that order.

    `energy_j`; `covariances` by term (J^2); `signed` effects of one standard uncertainty by term (J); `dof` belongs to the
    covariances, by term.
    `explained_w` is what the fit says of each reading and `residual_w` what it leaves (0 of holes); its middle is `middle_s`.
    `powers_w` belong to the `columns`. `errors_j` (readings x names) is what the part that is left of each reading does to each energy.
    """

    names: tuple[State | str, ...]
    energy_j: Floats
    durations_s: Floats
    covariances: dict[str, Floats]
    signed: dict[str, Floats]
    dof: dict[str, float | None]
    n: int
    alignment: Alignment
    middle_s: Floats
    explained_w: Floats
    residual_w: Floats
    columns: Columns
    powers_w: Floats
    errors_j: Floats

    def errors_of(self, state: State) -> Floats:
        """`errors_j` of one state's energy; 0 where it does not occur."""
        return self.errors_j[:, self.names.index(state)] if state in self.names else np.zeros(len(self.middle_s))

    def joules_of(self, t0_s: Floats, t1_s: Floats) -> Floats:
        """What the fit says of stretches inside the window, joules."""
        return np.asarray((self.columns.until(t1_s) - self.columns.until(t0_s)) @ self.powers_w)


@dataclass(frozen=True)
class FitWindow:
    """What one fit works on: rows of the observations, their powers and trust, the window in seconds, reading noise where known."""

    observations: Observations
    rows: slice
    power: Floats
    trust: Floats
    t0_s: float
    t1_s: float
    noise_w: float | None

    def overlap(self, shift_s: float = 0.0) -> Floats:
        """Seconds of each cell in the window, cells moved `shift_s` earlier."""
        return self.observations.overlap_s(self.t0_s + shift_s, self.t1_s + shift_s, self.rows)


def fit_window(
    observations: Observations,
    timeline: Timeline,
    t0_s: float,
    t1_s: float,
    timing: Timing,
    rest: AtRest | None,
    covariates: Mapping[str, Floats] | None = None,
) -> Fit:
    """Fit one window. `rest` is what the channel read while nothing ran: where the power of short idle gaps is to be sought, and its noise.

    `covariates` are what makes power vary within a state, one value a piece of the timeline; without them, the place in a decode run.
    """
    rows = _rows(observations, t0_s, t1_s)
    if rows.stop - rows.start > MOST_INCREMENTS:
        observations = observations.merged(rows, MOST_INCREMENTS)
        rows = slice(0, len(observations))
    lo = min(float(observations.lo_s[rows].min()), float(observations.cell_lo_s[rows].min()), t0_s)
    hi = max(float(observations.hi_s[rows].max()), float(observations.cell_hi_s[rows].max()), t1_s)
    margin = observations.averaging_s + 2 * observations.refresh_s + 2 * float(observations.jitter_hi_s[rows].max()) + 5 * timing.delay_u_s
    columns = Columns(timeline, t0_s, t1_s, (lo - margin - 0.1, hi + margin + 0.1), covariates)
    length = observations.hi_s[rows] - observations.lo_s[rows]
    good = observations.good[rows]
    usual = float(np.median(length[good])) if good.any() else 1.0
    trust = np.where(good, np.clip(length / usual, 1e-3, 1e3) if observations.increments else 1.0, 0.0)
    power = observations.mean_w[rows]
    noise_w = rest.noise_at(float(power[good].mean())) if rest is not None and good.any() else None
    window = FitWindow(observations, rows, power, trust, t0_s, t1_s, noise_w)
    alignment = align(columns, observations, rows, trust, timing)
    return _fit(window, columns, alignment, timing, _prior(columns, power[good], None if rest is None else rest.watts))


def _rows(observations: Observations, t0_s: float, t1_s: float) -> slice:
    rows = observations.between(t0_s, t1_s)
    cells = observations.cell_hi_s[rows] - observations.cell_lo_s[rows]
    usual = float(np.median(cells)) if len(cells) else 0.0
    pad = 2 * observations.averaging_s + PAD_CELLS * usual
    return observations.between(t0_s - pad, t1_s + pad)


def _prior(columns: Columns, power: Floats, idle_w: float | None) -> tuple[Floats, Floats]:
    """Where each column's power is sought and how widely, watts: so wide that it only decides what the readings do not.

    The mean, give or take itself or twice the range seen (an averaging sensor narrows the range); idle nearer to the loaded-idle
    power than to the mean.
    """
    if len(power) == 0:
        return np.zeros(len(columns.names)), np.ones(len(columns.names))
    least, most, mean = float(power.min()), float(power.max()), float(power.mean())
    spread = max(most - least, 0.5 * abs(mean), 1e-3)
    centre = np.full(len(columns.names), mean)
    width = np.full(len(columns.names), PRIOR_SPREADS * spread)
    floor = least if idle_w is None else idle_w
    told = any(name[0] == "in" and name[1] != State.IDLE for name in columns.names)  # without steps, "idle" is all that is known
    for j, name in enumerate(columns.names):
        if told and name == ("in", State.IDLE):
            centre[j] = floor + (mean - floor) / 4  # a device that just worked draws somewhat more than one at rest
            width[j] = max((mean - floor) / 3, 0.1 * spread)
        elif name[0] == "drift":
            centre[j], width[j] = 0.0, spread
    return centre, width


def _fit(window: FitWindow, columns: Columns, alignment: Alignment, timing: Timing, prior: tuple[Floats, Floats]) -> Fit:
    """Least squares with the weak prior, the timing as further unknowns, and everything that the result owes to each reading."""
    observations, rows = window.observations, window.rows
    shift, smear = alignment.shift_s, alignment.smear
    design = columns.filtered(observations, rows, shift, 0.0, smear)
    centre, width = prior
    powers = _solve(design, window, centre, width)[0]
    nuisance, nuisance_u = _timing_columns(columns, window, alignment, timing, design, powers)
    size, extra = design.shape[1], nuisance.shape[1]
    full = np.hstack([design, nuisance])
    centre = np.concatenate([centre, np.where(np.arange(extra) == 0, -shift if alignment.shift_u_s > 0 else 0.0, 0.0)])
    width = np.concatenate([width, nuisance_u])
    theta, inverse, influence = _solve(full, window, centre, width)
    overlap = window.overlap(shift)
    explained = full @ theta
    residual = np.where(window.trust > 0, window.power - explained, 0.0)
    seen = stamps = division = None
    if observations.increments:
        shared = neighbours(columns, observations, rows, theta[:size], shift)
        stamps = increment_stamps(observations, rows, residual, beside(window.power), shared)
        seen = Seen(residual, window.power, window.trust > 0, stamps.u_s)
        division = divide_increments(observations, rows, seen, columns, design, shift)
    taken = overlap if division is None else division.taken_s
    missing = columns.durations_s - design.T @ taken  # seconds of each column that the cells taken for the window do not show
    slope = np.array([_total_slope(window, columns, alignment, design, powers, k) for k in range(extra)])
    slope -= nuisance.T @ (taken - overlap)
    into = np.zeros((1 + size, size + extra))  # what each energy owes to each unknown
    into[0, :size], into[0, size:] = missing, slope
    into[1:, :size] = np.diag(columns.durations_s)
    energy = into @ theta
    energy[0] += taken @ window.power
    weights = influence @ into.T
    weights[:, 0] += taken
    inside = [j for j, name in enumerate(columns.names) if name[0] == "in"]
    keep = [0, *(1 + j for j in inside)]
    ideal = np.column_stack([overlap, *(overlap * design[:, j] for j in inside)])
    edges = (window.t0_s + shift, window.t1_s + shift)
    increments = None
    if seen is not None and stamps is not None and division is not None:
        undivided = weights[:, keep]
        undivided[:, 0] -= taken - overlap
        factors = whole_steps(columns, observations, rows, undivided, ideal, theta[:size], shift)
        stamp_w = power_at_stamps(observations, rows, seen, columns, theta[:size], shift, division)
        increments = Increments(stamps, stamp_w, division, factors)
    errors = error_covariances(observations, rows, residual, weights[:, keep], ideal, size + extra, edges, window.noise_w, increments)
    if ("in", State.IDLE) in columns.names:
        bent = np.ones(len(keep))
        k = 1 + inside.index(columns.names.index(("in", State.IDLE)))
        bent[k] = _bent((weights[:, keep[k]] - ideal[:, k]) * residual, (full * influence).sum(axis=1))
        errors.covariances["sampling"] *= np.outer(bent, bent)
    gain = into @ inverse
    prior_cov = gain[:, :size] @ np.diag(1 / width[:size] ** 2) @ gain[:, :size].T
    errors.covariances["prior"] = prior_cov[np.ix_(keep, keep)]
    signed = _timing_effects(gain[keep, size:], nuisance_u, alignment, timing)
    names: tuple[State | str, ...] = ("total", *(State(columns.names[j][1]) for j in inside))
    durations = np.array([window.t1_s - window.t0_s, *columns.durations_s[inside]])
    return Fit(
        names,
        energy[keep],
        durations,
        errors.covariances,
        signed,
        errors.dof,
        int((window.trust > 0).sum()),
        alignment,
        (observations.lo_s[rows] + observations.hi_s[rows]) / 2,
        explained,
        residual,
        columns,
        theta[:size],
        (weights[:, keep] - observations.coverage * ideal) * residual[:, None],
    )


def _bent(scores: Floats, leverage: Floats) -> float:
    """By how much scatter looks smaller than it is, because the fit bends towards the few readings that tell of short gaps.

    What is left of a reading with leverage h has the variance s^2 (1 - h) (MacKinnon and White's HC2).
    """
    seen = scores**2
    whole = seen / (1.0 - np.clip(leverage, 0.0, MOST_LEVERAGE))
    return float(np.sqrt(whole.sum() / seen.sum())) if seen.any() else 1.0


def _solve(design: Floats, window: FitWindow, centre: Floats, width: Floats) -> tuple[Floats, Floats, Floats]:
    """Unknowns, their inverse precision, and (n, p) the change of each unknown for one watt more in a reading."""
    weighted = design * window.trust[:, None]
    gram, moment = weighted.T @ design, weighted.T @ window.power
    count = max(float((window.trust > 0).sum()) - design.shape[1], 1.0)
    first = np.linalg.solve(gram + RIDGE * max(float(np.diag(gram).max()), 1e-30) * np.eye(len(gram)), moment)
    scatter = float(window.trust @ (window.power - design @ first) ** 2) / count
    scatter = max(scatter, 1e-12 * float(np.mean(window.power**2)), 1e-30)
    inverse = np.linalg.inv(gram / scatter + np.diag(1 / width**2))
    return inverse @ (moment / scatter + centre / width**2), inverse, weighted @ inverse / scatter


def _timing_columns(
    columns: Columns, window: FitWindow, alignment: Alignment, timing: Timing, design: Floats, powers: Floats
) -> tuple[Floats, Floats]:
    """Change of the fitted readings for one second more delay and (where uncertain) averaging, with their prior uncertainties."""
    made, widths = [], []
    observations, rows, shift, smear = window.observations, window.rows, alignment.shift_s, alignment.smear
    if alignment.shift_u_s > 0:
        moved = columns.filtered(observations, rows, shift + PROBE_S, 0.0, smear)
        made.append((moved - design) @ powers / PROBE_S)
        widths.append(alignment.shift_u_s)
    if timing.averaging_u_s > 0 and observations.averaging_s > 0:
        moved = columns.filtered(observations, rows, shift, PROBE_S, smear)
        made.append((moved - design) @ powers / PROBE_S)
        widths.append(timing.averaging_u_s)
    return (np.column_stack(made), np.array(widths)) if made else (np.zeros((len(design), 0)), np.zeros(0))


def _total_slope(window: FitWindow, columns: Columns, alignment: Alignment, design: Floats, powers: Floats, which: int) -> float:
    """Change of the window's energy for one second more delay (or averaging, which moves centres by half), powers kept."""
    moves = [1.0] if alignment.shift_u_s > 0 else []
    probe = PROBE_S * ([*moves, 0.5][which])
    wider = 0.0 if moves and which == 0 else PROBE_S
    rows, observations = window.rows, window.observations
    shift = alignment.shift_s + (PROBE_S if wider == 0.0 else 0.0)
    moved = columns.filtered(observations, rows, shift, wider, alignment.smear)
    before, after = window.overlap(alignment.shift_s), window.overlap(alignment.shift_s + probe)
    change = (after - before) @ window.power - (moved.T @ after - design.T @ before) @ powers
    return float(change) / PROBE_S


def _timing_effects(gain: Floats, nuisance_u: Floats, alignment: Alignment, timing: Timing) -> dict[str, Floats]:
    """What a wrong prior of the timing does to each energy: by one standard uncertainty of the delay, the clock, the stamps, averaging."""
    effects: dict[str, Floats] = {}
    column = 0
    if alignment.shift_u_s > 0:
        slope = gain[:, 0] / nuisance_u[0] ** 2
        for term, u_s in (("delay", timing.delay_u_s), ("clock", timing.clock_u_s), ("stamps", alignment.stamp_u_s)):
            if u_s > 0:
                effects[term] = slope * u_s
        column = 1
    if len(nuisance_u) > column:
        effects["averaging"] = gain[:, column] / nuisance_u[column]
    return effects
