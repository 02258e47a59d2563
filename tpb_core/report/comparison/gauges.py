"""Means of temperatures and clocks over a window, from the samples of a bundle."""

from __future__ import annotations

import math

import numpy as np

from tpb_core.api.attributor import RunView

_UNITS = {"degC": 1, "MHz": 0, "RPM": 0}
"""Unit -> decimals. What a reader wants to see equal before believing a ratio."""


def gauge_means(run: RunView, window: str) -> dict[str, str]:
    """Channel -> mean of its readings in the window, with its unit; gauges without a reading there are left out."""
    bounds = next(((each.t0_ns, each.t1_ns) for each in run.windows if each.window == window), None)
    if bounds is None:
        return {}
    found = {}
    for channel in run.channels:
        if channel.kind != "gauge" or channel.unit not in _UNITS:
            continue
        series = run.series(channel.channel)
        inside = series.value[(series.t_ns >= bounds[0]) & (series.t_ns <= bounds[1]) & np.isfinite(series.value)]
        if len(inside) and math.isfinite(mean := float(inside.mean())):
            found[channel.channel] = f"{mean:.{_UNITS[channel.unit]}f} {channel.unit}"
    return found
