"""Meters held against each other: consistency within one sensor, a verdict between sensors, and the bound that a node holds its parts."""

from __future__ import annotations

from tpb_core.api import Reason, ValidityRow, Window
from tpb_core.energy.domain_energy import figures_of, unusable
from tpb_core.energy.figures import Figure
from tpb_core.energy.ledger import RunBalance
from tpb_core.energy.meters import ChannelMeter
from tpb_core.energy.regression import fit_window
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.validity import CHECKS

EXPANDED = 2.0


def agreement(energy: RunEnergy, balance: RunBalance, window: Window) -> list[ValidityRow]:
    """Every check channel against its domain. One sensor: relative difference beyond its
    uncertainty, which is large in a short window. Two sensors: over the uncertainty of the difference.

    Where nothing is known of a sensor's gain there is no verdict, and so no gate.
    """
    rows: list[ValidityRow] = []
    for domain in energy.tree.domains.values():
        line = balance.lines.get((window.window, domain.name, "gross"))
        if line is None or line.total is None or not domain.allocated:
            continue
        sensors = {energy.meter(channel).sensor for channel in domain.givers}
        for channel in domain.checks:
            if channel.evidence == "estimated":
                continue
            meter = energy.meter(channel)
            other = channel_total(energy, meter, window, domain.name)
            if other is None or line.total.joules == 0:
                continue
            difference = line.total - other.scaled(domain.share)
            kind = "meters_consistent" if meter.sensor in sensors else "meters_agree"
            if kind == "meters_consistent":
                beyond_j = max(abs(difference.joules) - EXPANDED * difference.u_without_calibration_j, 0.0)
                value: float | None = beyond_j / abs(line.total.joules)
            else:
                u = difference.u_total_j
                value = None if u is None else abs(difference.joules) / max(EXPANDED * u, 1e-12)
            reason = None if value is not None else str(Reason.NO_CALIBRATION_DATA)
            rows.append(CHECKS[kind].row(value, window=window.window, domain=domain.name, answerable=value is not None, reason=reason))
    return rows


def rest(energy: RunEnergy, balance: RunBalance, window: Window) -> list[ValidityRow]:
    """The rest of every node: below zero by more than its uncertainty means that a scope is wrong."""
    rows: list[ValidityRow] = []
    for (name, domain, basis), line in balance.lines.items():
        if name != window.window or basis != "gross" or not domain.endswith("/rest") or line.total is None:
            continue
        u = line.total.u_total_j if line.total.u_total_j is not None else line.total.u_without_calibration_j
        value = max(-line.total.joules, 0.0) / max(EXPANDED * u, 1e-12)
        rows.append(CHECKS["rest_not_negative"].row(value, window=name, domain=domain))
    return rows


def channel_total(energy: RunEnergy, meter: ChannelMeter, window: Window, domain: str) -> Figure | None:
    """The window's energy from one channel; None where it gives none."""
    t0_s, t1_s = energy.bounds_s(window)
    if unusable(meter, t0_s, t1_s) is not None:
        return None
    fit = fit_window(meter.observations, energy.timeline(domain), t0_s, t1_s, meter.timing, energy.at_rest(meter.channel))
    figure = figures_of(energy, meter, fit, window)["total"]
    return figure if isinstance(figure, Figure) else None
