"""Speed and size of every window of a run: requests, tokens, latencies, CPU seconds. Rows of the database table `performance`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tpb_core.api.attributor import Window
from tpb_core.api.codes import Reason
from tpb_core.store.bundle import Bundle
from tpb_core.store.goodput import goodput_columns
from tpb_core.store.stretch import RequestTimes, Stretch, request_times, stretch_of
from tpb_core.store.targets import Target, targets_of
from tpb_core.store.watched import counted, token_counters

PERCENTILES = (50, 90, 95, 99)
_SPREADS = ("latency", "ttft", "tpot", "itl")


def performance_of(bundle: Bundle) -> list[dict[str, Any]]:
    """One row for each window that has an end, keys as in the table `performance` without `run_id`."""
    times = request_times(bundle)
    targets = targets_of(bundle.manifest)
    return [_row(bundle, times, window, targets) for window in bundle.windows]


def _row(bundle: Bundle, times: RequestTimes, window: Window, targets: Sequence[Target]) -> dict[str, Any]:
    stretch = stretch_of(times, window)
    watched = _count_watched(bundle, times, stretch, window)
    cpu_s, cpu_reason = _cpu_s(bundle, window)
    client_cpu_s, host_cpu_s = _client(bundle, window)
    row: dict[str, Any] = {
        "window": window.window,
        "t0_ns": window.t0_ns,
        "t1_ns": window.t1_ns,
        "duration_s": window.duration_s,
        "requests": None if watched else len(stretch.ended),
        "failed_requests": None if watched else stretch.failed,
        "output_tokens": stretch.output_tokens,
        "output_tokens_reason": stretch.output_reason,
        "input_tokens": stretch.input_tokens,
        "input_tokens_reason": stretch.input_reason,
        "mean_input_tokens": _mean(_known(times.input_tokens, stretch)),
        "mean_output_tokens": _mean(_known(times.output_tokens, stretch)),
        "cpu_s": cpu_s,
        "cpu_s_reason": cpu_reason,
        "client_cpu_s": client_cpu_s,
        "host_cpu_s": host_cpu_s,
        **goodput_columns(times, window, () if watched else targets),
    }
    for name, seconds in zip(_SPREADS, _latencies(times, stretch), strict=True):
        scale, unit = (1.0, "s") if name == "latency" else (1e3, "ms")
        row[f"{name}_mean_{unit}"] = _mean(seconds * scale)
        quantiles = np.percentile(seconds, PERCENTILES) * scale if len(seconds) else [None] * len(PERCENTILES)
        row |= {f"{name}_p{p}_{unit}": None if q is None else float(q) for p, q in zip(PERCENTILES, quantiles, strict=True)}
    return row


def _count_watched(bundle: Bundle, times: RequestTimes, stretch: Stretch, window: Window) -> bool:
    """Where there are no requests of ours but a server's token counters, those say how many tokens there were.

    Returns whether that is so: its requests are not known one by one.
    """
    outputs, inputs = token_counters(bundle)
    if len(times.begins) or not (outputs or inputs):
        return False
    if outputs:
        stretch.output_tokens, stretch.output_reason = counted(bundle, outputs, window)
    if inputs:
        stretch.input_tokens, stretch.input_reason = counted(bundle, inputs, window)
    return True


def _latencies(times: RequestTimes, stretch: Stretch) -> tuple[npt.NDArray[np.float64], ...]:
    """Seconds over the requests that ended well in the window: whole latency, TTFT, TPOT, and ITL over all their tokens.

    Latency and TTFT count from when the request was due, or submitted where the load shape has no due times. TPOT is the time from
    the first token to the last over the tokens after the first.
    """
    rows = stretch.ended
    begins, first, ends, tokens = (each[rows] for each in (times.begins, times.first, times.ends, times.output_tokens))
    last = np.where(times.last[rows] >= 0, times.last[rows], ends)
    timed, several = begins >= 0, (first >= 0) & (tokens > 1)
    latency = (ends - begins)[timed] / 1e9
    ttft = (first - begins)[timed & (first >= 0)] / 1e9
    tpot = (last - first)[several] / 1e9 / (tokens[several] - 1)
    pieces = [times.gaps[times.token_begins[row] : times.token_ends[row]] for row in rows]
    gaps = np.concatenate(pieces) if pieces else np.zeros(0)
    return latency, ttft, tpot, gaps[~np.isnan(gaps)]


def _known(values: npt.NDArray[np.int64], stretch: Stretch) -> npt.NDArray[np.float64]:
    chosen = values[stretch.ended]
    return chosen[chosen >= 0].astype(np.float64)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _cpu_s(bundle: Bundle, window: Window) -> tuple[float | None, Reason | None]:
    """CPU seconds of the engine's processes: the sum over time counters of the scope `process`, straight lines between readings."""
    counters = [channel for channel in bundle.channels if channel.kind == "time_counter" and channel.scope == "process"]
    if not counters:
        return None, Reason.NO_SENSOR
    total = 0.0
    for channel in counters:
        series = bundle.series(channel.channel)
        if not len(series.t_ns):
            return None, Reason.NO_READING
        if series.t_ns[0] > window.t0_ns or series.t_ns[-1] < window.t1_ns:
            return None, Reason.NOT_BRACKETED
        begin, end = np.interp([window.t0_ns, window.t1_ns], series.t_ns, series.value)
        total += float(end - begin)
    return total, None


def _client(bundle: Bundle, window: Window) -> tuple[float | None, float | None]:
    """CPU seconds of the load client and busy CPU seconds of its machine, which a run records over `measure`; None elsewhere."""
    overhead = bundle.manifest.get("overhead")
    if window.window != "measure" or not isinstance(overhead, Mapping):
        return None, None
    rows = [overhead.get(name) for name in ("client", "host")]
    client, host = (row.get("measure_cpu_s") if isinstance(row, Mapping) else None for row in rows)
    if not isinstance(client, (int, float)) or not isinstance(host, (int, float)) or not 0 <= client <= host or host == 0:
        return None, None
    return float(client), float(host)
