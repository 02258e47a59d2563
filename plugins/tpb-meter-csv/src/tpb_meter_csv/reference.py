"""The channel of the run against which a log's clock is found: its power as a cumulative energy that can be asked at any time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.api import LEDGER_KINDS, BadInput, Channel, RunView

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Cumulative energy in joules over run time in seconds (from `origin_ns`), linear between points."""

    channel: str
    origin_ns: int
    t_s: Floats
    energy_j: Floats

    def mean_w(self, t0_s: Floats, t1_s: Floats) -> Floats:
        """Mean power between two times, for arrays of them."""
        energy = np.interp(t1_s, self.t_s, self.energy_j) - np.interp(t0_s, self.t_s, self.energy_j)
        power: Floats = energy / (t1_s - t0_s)
        return power


def reference_of(run: RunView, name: str) -> Reference:
    """The named channel, or the measured one with the highest mean power. Raises BadInput where there is none with readings."""
    candidates = [channel for channel in run.channels if channel.kind in LEDGER_KINDS and (not name or channel.channel == name)]
    if name and not candidates:
        known = ", ".join(channel.channel for channel in run.channels if channel.kind in LEDGER_KINDS)
        raise BadInput(f"the run has no power or energy channel {name!r}", f"It has {known or 'none'}.")
    best: tuple[float, Reference] | None = None
    for channel in candidates:
        if not name and channel.evidence not in ("measured", "modelled", "simulated"):
            continue
        reference = _cumulative(run, channel)
        if reference is not None:
            mean_w = float(reference.energy_j[-1] / (reference.t_s[-1] - reference.t_s[0]))
            if best is None or mean_w > best[0]:
                best = (mean_w, reference)
    if best is None:
        raise BadInput("the run has no measured channel to compare the log with", "Use meter.csv.clock=realtime or =anchors.")
    return best[1]


def _cumulative(run: RunView, channel: Channel) -> Reference | None:
    series = run.series(channel.channel)
    if len(series.t_ns) < 3:
        return None
    origin_ns = int(series.t_ns[0])
    t_s: Floats = ((series.t_ns - origin_ns) * 1e-9).astype(np.float64)
    energy_j: Floats
    if channel.kind == "energy_counter":
        steps = np.diff(series.value)
        steps = np.where(steps < 0, steps + channel.wrap if channel.wrap else 0.0, steps)
        # Of equal values only the first is an edge: between edges the counter stood still although energy flowed.
        edges = np.concatenate([[True], steps > 0])
        energy_j = np.concatenate([[0.0], np.cumsum(steps)])[edges]
        t_s = t_s[edges]
    else:
        t_s = t_s - ((channel.averaging_ms or 0.0) / 2 + (channel.delay_ms or 0.0)) * 1e-3
        energy_j = np.concatenate([[0.0], np.cumsum((series.value[1:] + series.value[:-1]) / 2 * np.diff(t_s))])
    if len(t_s) < 3 or t_s[-1] <= t_s[0]:
        return None
    return Reference(channel.channel, origin_ns, t_s, energy_j)
