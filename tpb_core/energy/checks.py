"""Validity of a run: every check of the table applied to the measured windows. Fails closed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tpb_core.api import Reason, ValidityRow, Window
from tpb_core.energy.holes import LARGEST_SHARE
from tpb_core.energy.host_load import foreign_cpu_share
from tpb_core.energy.intervals import coverage_factor
from tpb_core.energy.ledger import TOTAL, RunBalance
from tpb_core.energy.meter_checks import agreement, rest
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.surroundings import foreign_processes, sampler_lateness, temperature_drift, throttled_share
from tpb_core.energy.validity import CHECKS, OPEN_LOOP_REQUESTS, OPEN_LOOPS
from tpb_core.energy.work_checks import client_lateness, finished_requests, wrong_token_counts

MEASURED = ("measure", "steady")


def run_checks(energy: RunEnergy, balance: RunBalance, method: str) -> list[ValidityRow]:
    """Checks that do not depend on how phases are split. A run without a window `measure` fails for want of one."""
    windows = measured_windows(energy)
    rows = [row for window in windows for row in _window_checks(energy, balance, window)]
    if not any(window.window.split("/")[0] == "measure" for window in windows):
        rows.append(CHECKS["window_bracketed"].row(None, window="measure", reason=str(Reason.STATUS_PARTIAL)))
    rows.append(CHECKS["sampler_on_time"].row(sampler_lateness(energy)))
    wrong = wrong_token_counts(energy)
    missing = None if wrong is not None else str(energy.activity.reason or Reason.NO_MEMBERS)
    rows.append(CHECKS["tokens_consistent"].row(wrong, answerable=wrong is not None, reason=missing))
    for row in rows:
        row.method = method
    return rows


Fitted = Callable[[str, Window], float | None]
"""(domain, window) -> joules that a method's model says of it; None where it has no model of its own."""


def phase_checks(energy: RunEnergy, balance: RunBalance, method: str, fitted_j: Fitted | None = None) -> list[ValidityRow]:
    """Checks of a method that splits phases: how well the fit explains the meter, and how wide the phases' intervals are.

    Without `fitted_j`, what is held against the meter is the sum of the phases.
    """
    rows: list[ValidityRow] = []
    for window in measured_windows(energy):
        for (name, domain, basis), line in balance.lines.items():
            if (
                name != window.window
                or basis != "gross"
                or line.total is None
                or not (line.phases.get("prefill") or line.phases.get("decode"))
            ):
                continue
            own = fitted_j(domain, window) if fitted_j is not None else None
            fitted = own if own is not None else sum(figure.joules for figure in line.phases.values())
            whole = not line.phase_reasons and domain != TOTAL
            factor = line.total.joules / fitted if fitted > 0 else None
            if whole:
                rows.append(_distance_from_one(factor, window.window, domain, method))
            for phase, figure in line.phases.items():
                if phase != "idle" and domain == TOTAL:
                    half = coverage_factor(figure.dof(calibration=False)) * figure.u_without_calibration_j
                    share = half / abs(line.total.joules) if line.total.joules else None
                    rows.append(CHECKS["interval_width"].row(share, window=window.window, domain=domain, method=method, reason=phase))
    return rows


def measured_windows(energy: RunEnergy) -> list[Window]:
    """The windows that figures are quoted for: `measure`, its slices, `steady`."""
    return [window for window in energy.run.windows if window.window.split("/")[0] in MEASURED and window.t1_ns > window.t0_ns]


def _window_checks(energy: RunEnergy, balance: RunBalance, window: Window) -> list[ValidityRow]:
    name = window.window
    t0_s, t1_s = energy.bounds_s(window)
    meters = [(d.name, energy.meter(channel)) for d in energy.tree.domains.values() if d.metered and d.allocated for channel in d.givers]
    observed = [(domain, meter.observations) for domain, meter in meters]
    open_ends = sum(meter.first_read_s > t0_s or meter.last_read_s < t1_s for _, meter in observed)
    holes = max((meter.hole_s(t0_s, t1_s) / (t1_s - t0_s) for _, meter in observed), default=None)
    no_sensor = None if meters else str(Reason.NO_SENSOR)
    shape = str((energy.run.manifest.get("load") or {}).get("shape") or "")
    enough = OPEN_LOOP_REQUESTS if shape in OPEN_LOOPS else None
    watched = shape == "observed"  # a program or a server without requests of ours
    finished = None if watched else finished_requests(energy, window)
    late, due_known = client_lateness(energy, window)
    throttled, temperature = throttled_share(energy, window), temperature_drift(energy, window)
    foreign = foreign_processes(energy, window)
    busy, unanswered = foreign_cpu_share(energy, window)
    rows = [
        CHECKS["window_bracketed"].row(float(open_ends) if meters else None, window=name, reason=no_sensor),
        CHECKS["no_gap"].row(holes, window=name, reason=no_sensor, limit=LARGEST_SHARE),
        CHECKS["expected_devices"].row(float(_missing_devices(energy)), window=name, reason=no_sensor),
        CHECKS["enough_requests"].row(
            finished, window=name, limit=enough, answerable=not watched, reason=_unless(finished, Reason.NO_REQUESTS)
        ),
        CHECKS["client_on_time"].row(late, window=name, answerable=due_known, reason=None if due_known else str(Reason.NOT_DUE)),
        CHECKS["no_throttling"].row(throttled, window=name, answerable=throttled is not None, reason=_unless(throttled, Reason.NO_SENSOR)),
        CHECKS["steady_temperature"].row(
            temperature, window=name, answerable=temperature is not None, reason=_unless(temperature, Reason.NO_SENSOR)
        ),
        CHECKS["no_foreign_process"].row(foreign, window=name, answerable=foreign is not None, reason=_unless(foreign, Reason.NO_READING)),
    ]
    # Announced CPU times without readings are a gate without an answer; a run without them cannot be asked, and a watched one has company.
    told = unanswered in (None, Reason.NO_READING) and not watched
    rows.append(CHECKS["host_not_busy"].row(busy, window=name, answerable=told, reason=_unless(busy, unanswered or Reason.NO_SENSOR)))
    rows += agreement(energy, balance, window)
    rows += rest(energy, balance, window)
    if (line := balance.lines.get((name, TOTAL, "gross"))) is not None:
        rows.append(_width(line.total, name))
    return rows


def _width(total: object, window: str) -> ValidityRow:
    from tpb_core.energy.figures import Figure

    if not isinstance(total, Figure) or total.joules == 0:
        return CHECKS["interval_width"].row(None, window=window, domain=TOTAL)
    half = coverage_factor(total.dof(calibration=False)) * total.u_without_calibration_j
    return CHECKS["interval_width"].row(half / abs(total.joules), window=window, domain=TOTAL)


def _missing_devices(energy: RunEnergy) -> int:
    """Devices that the engine runs on without a meter of their own; one more where nothing is metered at all."""
    instances = (energy.run.manifest.get("engine") or {}).get("instances") or []
    wanted = {device for instance in instances for device in instance.get("devices") or []}
    domains = [domain for domain in energy.tree.domains.values() if domain.metered and domain.allocated]
    seen = {channel.device for domain in domains for channel in domain.givers}
    known = {channel.device for channel in energy.run.channels if channel.device is not None}
    accelerators = {device for device in wanted if device in known or not str(device).startswith("cpu")}
    return len(accelerators - seen) + (0 if domains else 1)


def _distance_from_one(factor: float | None, window: str, domain: str, method: str) -> ValidityRow:
    row = CHECKS["fit_factor"].row(None if factor is None else abs(factor - 1), window=window, domain=domain, method=method)
    row.value, row.limit = factor, 1 + CHECKS["fit_factor"].limit
    return row


def _unless(value: float | None, reason: Reason) -> str | None:
    return str(reason) if value is None or not np.isfinite(value) else None
