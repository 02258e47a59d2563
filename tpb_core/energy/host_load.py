"""How much of a host's CPU time in a window went to processes that are neither the engine's nor ours."""

from __future__ import annotations

import math

import numpy as np

from tpb_core.api import Channel, Reason, Window
from tpb_core.energy.run_energy import RunEnergy

OURS = ("session", "sampler")
"""Processes in the manifest's `overhead` that are not in the engine's tree of processes."""
CORES = "x_cores"


def foreign_cpu_share(energy: RunEnergy, window: Window) -> tuple[float | None, Reason | None]:
    """Share of all CPUs' time, of the busiest node; None with the reason where it cannot be told.

    Per node: (CPU time of the node - of the engine's tree - of our session and sampler) / (CPUs x duration), never below 0. The reason
    is `no_sensor` where CPU times are not recorded, `not_ours` where the engine is a server that we did not start, and `no_reading` where
    the channels are there and do not enclose the window.
    """
    shares: list[float] = []
    nodes = energy.run.manifest.get("nodes") or [{}]
    for node, (whole, own) in _channels(energy).items():
        cores = whole.extensions.get(CORES)
        if not isinstance(cores, (int, float)) or not cores > 0:
            continue
        if _server_of_others(energy):
            return None, Reason.NOT_OURS
        busy_s, engine_s = _seconds(energy, whole, window), _seconds(energy, own, window)
        if busy_s is None or engine_s is None:
            return None, Reason.NO_READING
        ours_s = _ours_s(energy, window) if node == nodes[0].get("node", node) else 0.0  # the session is on the coordinating node
        shares.append(max(busy_s - engine_s - ours_s, 0.0) / (float(cores) * window.duration_s))
    return (max(shares), None) if shares else (None, Reason.NO_SENSOR)


def _channels(energy: RunEnergy) -> dict[str, tuple[Channel, Channel]]:
    """For each node the CPU time of all of it, and of the engine's processes on it."""
    found: dict[str, dict[str, Channel]] = {}
    for channel in energy.run.channels:
        if channel.kind == "time_counter" and channel.unit == "s" and channel.scope in ("node", "process"):
            found.setdefault(channel.node, {})[channel.scope] = channel
    return {node: (pair["node"], pair["process"]) for node, pair in found.items() if len(pair) == 2}


def _seconds(energy: RunEnergy, channel: Channel, window: Window) -> float | None:
    """How far a counter of seconds went in the window; None where its readings do not enclose it."""
    series = energy.run.series(channel.channel)
    good = np.isfinite(series.value)
    t_ns, value = series.t_ns[good], series.value[good]
    if len(t_ns) < 2 or t_ns[0] > window.t0_ns or t_ns[-1] < window.t1_ns:
        return None
    first, last = np.interp([float(window.t0_ns - t_ns[0]), float(window.t1_ns - t_ns[0])], (t_ns - t_ns[0]).astype(float), value)
    return float(last - first)


def _ours_s(energy: RunEnergy, window: Window) -> float:
    """CPU time of our own processes in the window, taken as spread evenly over `measure`; 0 where the run does not state it."""
    overhead = energy.run.manifest.get("overhead") or {}
    spent = [(overhead.get(name) or {}).get("measure_cpu_s") for name in OURS]
    measured = energy.window("measure")
    share = min(window.duration_s / measured.duration_s, 1.0) if measured is not None and measured.duration_s > 0 else 0.0
    return share * math.fsum(float(seconds) for seconds in spent if seconds is not None)


def _server_of_others(energy: RunEnergy) -> bool:
    """Whether the engine is a server that was there before: its CPU time cannot be told from that of strangers."""
    engine = energy.run.manifest.get("engine") or {}
    return bool((engine.get("requested") or {}).get("url"))
