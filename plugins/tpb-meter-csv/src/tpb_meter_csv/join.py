"""Join a recorded log to a finished run: channels and samples on the run clock, ready for the bundle."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tpb_core.api import BadInput, Channel, RunView
from tpb_core.api.described import Column, channel_of
from tpb_meter_csv.clock_map import ClockMap, anchor_map, realtime_map
from tpb_meter_csv.config import CsvConfig, columns_of
from tpb_meter_csv.correlation import fit_clock
from tpb_meter_csv.log import Log, read_log
from tpb_meter_csv.reference import reference_of

_MARGIN_S = 60.0
"""Rows from so long before and after the run are kept, so that its edges lie between samples."""
SampleRow = tuple[str, int, int, int | None, str | None, float]


@dataclass(frozen=True)
class JoinedSeries:
    """Readings of one column: run clock in ns, half width of the stamp in ns, time on the log's clock in ns, value in SI units."""

    t_ns: npt.NDArray[np.int64]
    half_width_ns: int
    source_ns: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]


@dataclass
class JoinedLog:
    """What a log adds to a run. `notes` say in words how it was joined; `problems` which lines could not be used."""

    channels: list[Channel]
    series: dict[str, JoinedSeries]
    clock: ClockMap
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    source_clock: str = "realtime"

    def rows(self) -> list[SampleRow]:
        """Rows for samples.parquet in its column order: channel, t_ns, half_width_ns, source_ns, source_clock, value."""
        found: list[SampleRow] = []
        for name, series in self.series.items():
            columns = zip(series.t_ns.tolist(), series.source_ns.tolist(), series.value.tolist(), strict=True)
            found += [(name, t_ns, series.half_width_ns, source_ns, self.source_clock, value) for t_ns, source_ns, value in columns]
        return found


def join_log(run: RunView, config: CsvConfig, *, node: str = "n0", machine_id: str = "unknown") -> JoinedLog:
    """The channels and samples that the log at `config.path` adds to `run`.

    Raises BadInput (file, line, what to change) where the log cannot be used or does not overlap the run, Unavailable without options.
    """
    columns = columns_of(config)
    log = read_log(config, columns)
    clock = _clock_map(run, config, log, columns)
    log_ns = np.array(log.times_ns, np.int64)
    run_ns = clock.to_run(log_ns)
    first_ns, last_ns = _span(run)
    _refuse_without_overlap(run_ns, first_ns, last_ns, config)
    margin_ns = int(_MARGIN_S * 1e9)
    wanted = (run_ns >= first_ns - margin_ns) & (run_ns <= last_ns + margin_ns)
    elapsed = config.time_format.startswith("elapsed")
    joined = JoinedLog([], {}, clock, source_clock="device" if elapsed else "realtime", problems=[str(p) for p in log.problems])
    device = f"{machine_id}/log/{config.path.rpartition('/')[2]}"
    for column in columns:
        present = np.array([column.name in row.values for row in log.rows]) & wanted
        values = np.array([row.values.get(column.name, 0.0) for row in log.rows], np.float64)[present]
        channel = _channel(column, config, clock, log, values, node=node, device=device)
        joined.channels.append(channel)
        joined.series[channel.channel] = JoinedSeries(run_ns[present], log.stamp_step_ns // 2, log_ns[present], values)
        joined.notes.append(f"{channel.channel}: {len(values)} rows of {config.path}, clock by {clock.method} (u = {clock.u_s:.2g} s)")
    return joined


def _clock_map(run: RunView, config: CsvConfig, log: Log, columns: list[Column]) -> ClockMap:
    if config.clock == "anchors":
        return anchor_map(run, config)
    if config.clock == "realtime":
        return realtime_map(run, config)
    return _correlated_map(run, config, log, columns)


def _correlated_map(run: RunView, config: CsvConfig, log: Log, columns: list[Column]) -> ClockMap:
    reference = reference_of(run, config.reference)
    times_ns, watts = _power_of_log(log, columns, config)
    elapsed = config.time_format.startswith("elapsed")
    # Where the clock would have to be set if it were right: true time, or the log begun with the run.
    right = ClockMap([times_ns[0]], [_span(run)[0]], 0.0, "start") if elapsed else realtime_map(run, config)
    base_ns = int(times_ns[0])
    base_run_ns = int(right.to_run(np.array([base_ns], np.int64))[0])
    log_s = np.array([t - base_ns for t in times_ns], np.float64) * 1e-9
    guess_s = (reference.origin_ns - base_run_ns) * 1e-9
    step_s = (log.row_interval_ns or 10**9) * 1e-9
    tried = [config.averaging_ms * 1e-3] if config.averaging_ms else [step_s * factor for factor in (0.1, 0.5, 1, 2, 5, 10)]
    windows_s = [max(w, 1e-3) for w in tried]
    fit = fit_clock(log_s, np.array(watts), reference, guess_s=guess_s, search_s=config.search_s, averaging_s=windows_s, step_s=step_s)
    facts = {
        "x_clock_reference": reference.channel, "x_clock_r2": fit.r2, "x_clock_rows": fit.n, "x_clock_ahead_s": fit.ahead_s - guess_s,
        "x_slope": fit.slope, "x_intercept_w": fit.intercept_w, "x_averaging_fitted_ms": fit.averaging_s * 1e3,
    }  # fmt: skip
    at_origin_ns = base_ns + round(fit.ahead_s * 1e9)  # what the log's clock showed at the origin of the reference
    return ClockMap([at_origin_ns], [reference.origin_ns], fit.ahead_u_s, "correlation", facts)


def _power_of_log(log: Log, columns: list[Column], config: CsvConfig) -> tuple[list[int], list[float]]:
    """Times (ns, the log's clock) and watts of the first power column, or of differences of the first energy column."""
    for kind in ("power", "energy_counter"):
        for column in columns:
            if column.quantity.kind != kind:
                continue
            points = [(t, row.values[column.name]) for t, row in zip(log.times_ns, log.rows, strict=True) if column.name in row.values]
            if kind == "energy_counter":
                pairs = [(a, b) for a, b in itertools.pairwise(points) if b[0] > a[0] and b[1] >= a[1]]
                points = [(b[0], (b[1] - a[1]) / ((b[0] - a[0]) * 1e-9)) for a, b in pairs]
            if points:
                return [t for t, _ in points], [watts for _, watts in points]
    raise BadInput(f"{config.path} has no power and no energy to compare", "Declare one in meter.csv.channels.")


def _channel(
    column: Column, config: CsvConfig, clock: ClockMap, log: Log, values: npt.NDArray[np.float64], *, node: str, device: str
) -> Channel:
    channel = channel_of(column, node=node, meter="csv", device=device, evidence=config.evidence)
    interval_ms = log.row_interval_ns * 1e-6 if log.row_interval_ns else None
    channel.update_ms = config.update_ms if config.update_ms is not None else interval_ms
    channel.averaging_ms = 0.0 if channel.kind == "energy_counter" else config.averaging_ms
    channel.delay_ms, channel.delay_u_ms = 0.0, clock.u_s * 1e3
    channel.max_power_w = config.max_power_w
    channel.resolution = _resolution(values, column.quantity.factor)
    channel.point = config.point if channel.kind in ("power", "energy_counter") else None
    channel.extensions = {"x_log": config.path, "x_clock": clock.method, **clock.facts}
    return channel


def _resolution(values: npt.NDArray[np.float64], factor: float) -> float | None:
    """The step in which the values are written: the greatest common step of all, in decimals of the log's unit. None for one value."""
    if len(np.unique(values)) < 2:
        return None
    for decimals in range(7):
        quantum = factor * 10.0**-decimals
        counts = values / quantum
        if np.abs(counts).max() < 2**52 and np.allclose(counts, np.rint(counts), rtol=1e-12, atol=1e-4):
            steps = np.diff(np.unique(np.rint(counts).astype(np.int64)))
            return float(np.gcd.reduce(steps)) * quantum if len(steps) else None
    return None


def _span(run: RunView) -> tuple[int, int]:
    """First and last time of the run, from its windows."""
    windows = list(run.windows)
    if not windows:
        raise BadInput(f"run {run.run_id} has no window that ended", "Join the log to a run that measured something.")
    return min(window.t0_ns for window in windows), max(window.t1_ns for window in windows)


def _refuse_without_overlap(run_ns: npt.NDArray[np.int64], first_ns: int, last_ns: int, config: CsvConfig) -> None:
    inside = int(((run_ns >= first_ns) & (run_ns <= last_ns)).sum())
    if inside:
        return
    gap_s = (float(run_ns[0]) - last_ns) * 1e-9 if run_ns[0] > last_ns else (float(run_ns[-1]) - first_ns) * 1e-9
    direction = "after" if gap_s > 0 else "before"
    fix = "Check its clock."
    if abs(gap_s) > 1500:
        fix += f" It is about {round(abs(gap_s) / 3600)} h: is meter.csv.time_zone={config.time_zone or '(none)'} right?"
    raise BadInput(f"{config.path}: no row falls into the run; the log lies {abs(gap_s):.0f} s {direction} it", fix)
