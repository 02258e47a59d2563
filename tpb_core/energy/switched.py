"""A run whose load was switched: when it was at which level, and how each channel followed. Works on any such bundle, any time later."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tpb_core.api import LEDGER_KINDS, Channel, PreconditionFailed
from tpb_core.energy.characterisation import Response, fit_response
from tpb_core.energy.drive import LEAST_S, Drive
from tpb_core.energy.observations import Observations, from_counter, from_power
from tpb_core.energy.refresh_seen import refresh_seen

if TYPE_CHECKING:
    from tpb_core.api import RunView

NOTE = "load "
"""What the note of a slice of `measure` begins with; its level of load (0 to 1) follows."""


@dataclass(frozen=True)
class LoadSlice:
    """A stretch at one level of load, in ns of the run clock."""

    t0_ns: int
    t1_ns: int
    level: float


def load_slices(run: RunView) -> list[LoadSlice]:
    """Slices of a switched load in order; empty where the run has none."""
    table = run.columns("windows")
    if table is None or "note" not in table:
        return []
    found = []
    for row in range(len(table["t0_ns"].values)):
        note = str(table["note"].values[row]) if table["note"].valid[row] else ""
        if note.startswith(NOTE) and table["t1_ns"].valid[row]:
            found.append(LoadSlice(int(table["t0_ns"].values[row]), int(table["t1_ns"].values[row]), float(note.removeprefix(NOTE))))
    return sorted(found, key=lambda part: part.t0_ns)


def drive_of(slices: list[LoadSlice], origin_ns: int) -> Drive:
    """The load as a signal: off before the first slice and after the last one."""
    edges = [(part.t0_ns - origin_ns) / 1e9 for part in slices] + [(slices[-1].t1_ns - origin_ns) / 1e9]
    return Drive(np.array(edges), np.array([0.0, *(part.level for part in slices), 0.0]))


def raw_observations(run: RunView, channel: Channel, origin_ns: int, *, placed: bool = False) -> Observations | None:
    """A channel's readings, uncorrected: as if it neither averaged nor lagged, or `placed` by what it declares. None with too few."""
    series = run.series(channel.channel)
    usable = np.isfinite(series.value)
    if usable.sum() < 2:
        return None
    t_s, value, half_s = (series.t_ns[usable] - origin_ns) / 1e9, series.value[usable], series.half_width_ns[usable] / 1e9
    delay_s = (channel.delay_ms or 0.0) / 1e3 if placed else 0.0
    update_s = channel.update_ms / 1e3 if channel.update_ms is not None else None
    if update_s is None:
        refresh = refresh_seen(series.t_ns[usable].tolist(), value.tolist())
        update_s = refresh.period_ms / 1e3 if refresh is not None and refresh.period_ms is not None else None
    if channel.kind == "energy_counter":
        wrap, most = channel.wrap, channel.max_power_w
        return from_counter(t_s, value, half_s, wrap_j=wrap, max_power_w=most, update_s=update_s, delay_s=delay_s)[0]
    averaging_s = max((channel.averaging_ms or 0.0) / 1e3 if placed else 0.0, LEAST_S)
    return from_power(t_s, value, half_s, averaging_s=averaging_s, update_s=update_s, delay_s=delay_s)


def responses(run: RunView, against: str | None = None, *, only: Collection[str] | None = None, seed: int = 0) -> dict[str, Response]:
    """How each measured power channel and counter of a run (or `only` these) followed the load, or `against` another channel of the run.

    Estimates are left out: they follow the load by construction. Raises PreconditionFailed where the run has no switched load, or no
    channel `against`.
    """
    channels = {c.channel: c for c in run.channels if c.kind in LEDGER_KINDS and c.evidence not in ("estimated", "reported")}
    slices = load_slices(run)
    if against is None and not slices:
        raise PreconditionFailed("this run has no switched load", "Make one:  tpb characterise")
    origin_ns = slices[0].t0_ns if slices else min(window.t0_ns for window in run.windows)
    if against is None:
        drive = drive_of(slices, origin_ns)
    else:
        fast = raw_observations(run, channels[against], origin_ns, placed=True) if against in channels else None
        if fast is None:
            raise PreconditionFailed(f"there is no channel {against!r} with readings in this run", f"Channels: {', '.join(channels)}")
        drive = Drive.of_observations(fast)
    found = {}
    for name, channel in channels.items():
        wanted = name != against and (only is None or name in only)
        seen = raw_observations(run, channel, origin_ns) if wanted else None
        if seen is not None:
            found[name] = fit_response(seen, drive, seed=seed, rises=against is None)
    return found
