"""Channels as meters: raw readings of a run made into corrected observations, with what is known of their timing and calibration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tpb_core.api import Channel, EventCode
from tpb_core.energy.alignment import Timing
from tpb_core.energy.figures import Figure
from tpb_core.energy.observations import Observations, from_counter, from_power

if TYPE_CHECKING:
    from tpb_core.api import RunView

DEFAULT_CORRELATION = 0.4
"""How much gain errors of sensors of one common group correlate, unless the channel says better."""
STUCK_READS = 20


@dataclass(frozen=True)
class MeterEvent:
    """Something that happened to a channel: code, run time in seconds of the run's origin."""

    code: EventCode
    t_s: float


@dataclass(frozen=True)
class ChannelMeter:
    """A ledger channel with its observations (corrected by gain and offset), timing, and events found while unwrapping."""

    channel: Channel
    observations: Observations
    timing: Timing
    events: list[MeterEvent] = field(default_factory=list)
    reads: int = 0
    stuck: bool = False

    @property
    def sensor(self) -> str:
        """The source of gain and offset errors: the physical sensor, or the channel's own name where none is stated."""
        return self.channel.sensor or self.channel.channel

    @property
    def averaging_known(self) -> bool:
        """Whether phases can be told apart: always for counters, for power where the averaging time is stated."""
        return self.observations.increments or self.channel.averaging_ms is not None

    def calibrated(self, figure: Figure, seconds: float) -> Figure:
        """Add the gain and offset terms to an energy over `seconds`; mark it where nothing is known of them.

        gain: u_rel times the energy without the offset correction; a correlation r within a common group is two rows, sqrt(r)·u with the
        group as source and sqrt(1 - r)·u with the sensor. offset: u times the duration.
        """
        channel = self.channel
        if channel.gain_u_rel is None or channel.offset_u_w is None:
            figure = Figure(figure.joules, figure.terms, False)
        gain_j = (channel.gain_u_rel or 0.0) * (figure.joules - channel.offset_w * seconds)
        if channel.common_group:
            r = DEFAULT_CORRELATION if channel.common_r is None else channel.common_r
            figure = figure.with_term("gain", channel.common_group, float(np.sqrt(r)) * gain_j, calibration=True)
            gain_j *= float(np.sqrt(1 - r))
        figure = figure.with_term("gain", self.sensor, gain_j, calibration=True)
        return figure.with_term("offset", self.sensor, (channel.offset_u_w or 0.0) * seconds, calibration=True)


def meter_of(run: RunView, channel: Channel, origin_ns: int) -> ChannelMeter:
    """Read one `energy_counter` or `power` channel. Times are seconds after `origin_ns`."""
    series = run.series(channel.channel)
    usable = np.isfinite(series.value)
    t_s = (series.t_ns[usable] - origin_ns) / 1e9
    half_s = series.half_width_ns[usable] / 1e9
    value = series.value[usable]
    update_s = _seconds(channel.update_ms)
    delay_s = _seconds(channel.delay_ms) or 0.0
    events: list[MeterEvent] = []
    if channel.kind == "energy_counter":
        observations, counted = from_counter(
            t_s, value, half_s, wrap_j=channel.wrap, max_power_w=channel.max_power_w, update_s=update_s, delay_s=delay_s
        )
        for code, places in (
            (EventCode.COUNTER_WRAP, counted.wraps),
            (EventCode.COUNTER_RESET, counted.resets),
            (EventCode.DOUBLE_WRAP_POSSIBLE, counted.ambiguous),
        ):
            events += [MeterEvent(code, float(t_s[k])) for k in places]
        stuck = len(value) >= STUCK_READS and len(observations) == 0
        averaging_s = _seconds(channel.averaging_ms)
        if averaging_s is not None and 0.0 < averaging_s < observations.refresh_s:
            # A counter that adds up readings sees this share of the time; what happens between two looks is a matter of chance.
            observations = replace(observations, coverage=averaging_s / observations.refresh_s)
    else:
        averaging_s = _seconds(channel.averaging_ms) or 0.0
        observations = from_power(t_s, value, half_s, averaging_s=averaging_s, update_s=update_s, delay_s=delay_s)
        events += [MeterEvent(EventCode.GAP, float(t)) for t in observations.cell_lo_s[~observations.good]]
        stuck = len(value) >= STUCK_READS and float(np.ptp(value)) == 0.0
    corrected = np.where(observations.good, channel.gain * observations.mean_w + channel.offset_w, 0.0)
    quantum_w = (channel.resolution or 0.0) * channel.gain if channel.kind == "power" else 0.0
    observations = replace(observations.with_mean_w(corrected), quantum_w=quantum_w)
    return ChannelMeter(channel, observations, _timing(run, channel, observations.refresh_s), events, len(value), stuck)


def _timing(run: RunView, channel: Channel, refresh_s: float) -> Timing:
    """Timing uncertainties; a delay of unknown uncertainty is taken to be uncertain by one refresh (rectangular)."""
    delay_u = _seconds(channel.delay_u_ms)
    if delay_u is None:
        delay_u = refresh_s / float(np.sqrt(12)) if channel.delay_ms is None else 0.0
    clock_u = 0.0
    for node in run.manifest.get("nodes") or []:
        if node.get("node") == channel.node:
            clock_u = max((float(anchor.get("u_ns") or 0.0) for anchor in node.get("anchors") or []), default=0.0) / 1e9
    return Timing(delay_u, _seconds(channel.averaging_u_ms) or 0.0, clock_u)


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1e3
