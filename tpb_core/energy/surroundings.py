"""What surrounded a run: throttling, temperature, foreign processes, a late sampler. Each answers with a number or None."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel, EventCode, Window
from tpb_core.energy.run_energy import RunEnergy

Floats = npt.NDArray[np.float64]

HEAT_AND_BRAKE = 0x8 | 0x20 | 0x40 | 0x80
"""Bits of NVML's clocks-event reasons: hardware slowdown, software and hardware thermal slowdown, power brake."""
MASK = "x_throttle_mask"
KNOWN_MASKS = ("nvml", "dcgm")
LEAST_READS = 4


def throttled_share(energy: RunEnergy, window: Window) -> float | None:
    """Largest share of the window in which a device of the run lowered its clocks because of heat or a brake; None without such channels.

    The bits are those of NVML for its meters; other meters state theirs in the channel's extension `x_throttle_mask`.
    """
    shares = []
    for channel in _used(energy, "bitmask"):
        mask = channel.extensions.get(MASK, HEAT_AND_BRAKE if channel.meter in KNOWN_MASKS else None)
        read = _readings(energy, channel, window)
        if mask is not None and read is not None:
            shares.append(float(np.mean((read[1].astype(np.int64) & int(mask)) != 0)))
    return max(shares) if shares else None


def temperature_drift(energy: RunEnergy, window: Window) -> float | None:
    """Largest slope of a temperature over the last two thirds of the window, degC a minute; None without temperatures."""
    slopes = []
    for channel in _used(energy, "gauge"):
        read = _readings(energy, channel, window) if channel.unit in ("degC", "C") else None
        if read is None or len(read[0]) < LEAST_READS:
            continue
        late = read[0] >= read[0][0] + (read[0][-1] - read[0][0]) / 3
        if late.sum() >= LEAST_READS and np.ptp(read[0][late]) > 0:
            slopes.append(abs(float(np.polyfit(read[0][late], read[1][late], 1)[0])) * 60)
    return max(slopes) if slopes else None


def foreign_processes(energy: RunEnergy, window: Window) -> float | None:
    """Events `foreign_process` between the edges of the window; None where the bundle has no events at all."""
    events = energy.run.columns("events")
    if events is None or "code" not in events:
        return None
    mine = events["code"].values.astype(str) == str(EventCode.FOREIGN_PROCESS)
    if "t_ns" in events:
        stamps = events["t_ns"].values.astype(np.int64)
        mine &= (stamps >= window.t0_ns) & (stamps <= window.t1_ns)
    return float(mine.sum())


def sampler_lateness(energy: RunEnergy) -> float | None:
    """Share of ticks missed, while measuring where that is known; without such a record, the share of time in holes of the samples."""
    sampler = (energy.run.manifest.get("overhead") or {}).get("sampler") or {}
    for ticks, missed in (("measure_ticks", "measure_ticks_missed"), ("ticks", "ticks_missed")):
        if sampler.get(ticks):
            return float(sampler.get(missed) or 0) / (float(sampler[ticks]) + float(sampler.get(missed) or 0))
    shares = []
    for domain in energy.tree.domains.values():
        for channel in domain.givers:
            gaps = np.diff(energy.run.series(channel.channel).t_ns)
            if len(gaps):
                shares.append(float(gaps[gaps > 3 * np.median(gaps)].sum() / max(int(gaps.sum()), 1)))
    return max(shares) if shares else None


def _used(energy: RunEnergy, kind: str) -> list[Channel]:
    return [channel for channel in energy.run.channels if channel.kind == kind and channel.allocated]


def _readings(energy: RunEnergy, channel: Channel, window: Window) -> tuple[Floats, Floats] | None:
    series = energy.run.series(channel.channel)
    inside = (series.t_ns >= window.t0_ns) & (series.t_ns <= window.t1_ns) & np.isfinite(series.value)
    return ((series.t_ns[inside] - window.t0_ns) / 1e9, series.value[inside]) if inside.any() else None
