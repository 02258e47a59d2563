"""From the clock of a log to the run clock: piecewise linear between points where both are known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tpb_core.api import BadInput, RunView
from tpb_core.api.timestamps import StampFormat, parse_elapsed_ns
from tpb_meter_csv.config import CsvConfig

Nanoseconds = npt.NDArray[np.int64]
_EDGE = re.compile(r"(?P<window>\S+)\.(?P<edge>start|end)")


@dataclass(frozen=True)
class ClockMap:
    """Points known on both clocks, in ns, and the standard uncertainty of the map. One point: an offset."""

    log_ns: Sequence[int]
    run_ns: Sequence[int]
    u_s: float
    method: str
    facts: dict[str, Any] = field(default_factory=dict)
    """What the map rests on, for the channel's extensions (`x_clock_*`)."""

    def to_run(self, log_ns: Nanoseconds) -> Nanoseconds:
        """Times of the log on the run clock. Beyond the outermost points the nearest one's offset holds."""
        offsets = np.array(self.run_ns, np.float64) - np.array(self.log_ns, np.float64)
        base = self.log_ns[0]
        known = np.array([point - base for point in self.log_ns], np.float64)
        # Offsets of epochs exceed the precision of a float: their differences do not.
        first = int(self.run_ns[0]) - int(self.log_ns[0])
        drift = np.interp((log_ns - base).astype(np.float64), known, offsets - offsets[0])
        moved: Nanoseconds = log_ns + first + np.rint(drift).astype(np.int64)
        return moved


def realtime_map(run: RunView, config: CsvConfig) -> ClockMap:
    """The log shows true time (`clock_ahead_s` off): the anchors of the run's clock map it. Raises BadInput without anchors."""
    if config.time_format.startswith("elapsed"):
        raise BadInput("a log with elapsed times has no true time", "Use meter.csv.clock=anchors or meter.csv.clock=correlation.")
    points = true_time_points(run)
    ahead_ns = round(config.clock_ahead_s * 1e9)
    realtime = [realtime_ns + ahead_ns for realtime_ns, _ in points]
    return ClockMap(realtime, [run_ns for _, run_ns in points], config.clock_u_s, "realtime", {"x_clock_ahead_s": config.clock_ahead_s})


def true_time_points(run: RunView) -> list[tuple[int, int]]:
    """(realtime, run clock) in ns where the run recorded both. Raises BadInput where it did not."""
    clock = run.manifest.get("clock") or {}
    points = [(int(anchor["realtime_ns"]), int(anchor["run_ns"])) for anchor in clock.get("anchors") or []]
    if not points or clock.get("virtual"):
        raise BadInput("this run does not say how its clock relates to true time", "Use meter.csv.clock=anchors with edges of windows.")
    return sorted(points, key=lambda point: point[1])


def anchor_map(run: RunView, config: CsvConfig) -> ClockMap:
    """The user's anchors. Raises BadInput for anchors that cannot be understood or contradict each other."""
    if not config.anchors:
        raise BadInput("meter.csv.clock=anchors needs anchors", "'meter.csv.anchors=[\"10:00:05 = measure.start\"]'")
    points = sorted(_anchor(text, run, config) for text in config.anchors)
    log_ns, run_ns = [point[0] for point in points], [point[1] for point in points]
    for i in range(1, len(points)):
        rate = (run_ns[i] - run_ns[i - 1]) / max(log_ns[i] - log_ns[i - 1], 1)
        if not 0.99 < rate < 1.01:
            raise BadInput(
                f"between two anchors the log's clock runs at {1 / rate if rate > 0 else 0:.3f} times true time; no clock does",
                "One of the anchors is wrong.",
            )
    return ClockMap(log_ns, run_ns, config.clock_u_s, "anchors", {"x_clock_anchors": list(config.anchors)})


def _anchor(text: str, run: RunView, config: CsvConfig) -> tuple[int, int]:
    left, equals, right = str(text).partition(" = ")
    if not equals:
        raise BadInput(f"the anchor {text!r} is not LOG TIME = TRUE TIME", "For example '2026-07-20 14:00:05 = measure.start'.")
    try:
        if config.time_format.startswith("elapsed"):
            log_ns = parse_elapsed_ns(left, config.time_format)
        else:
            log_ns = StampFormat(config.time_format, config.time_zone or None).parse(left).first_ns
        return log_ns, _run_time(right.strip(), run)
    except ValueError as error:
        raise BadInput(f"the anchor {text!r}: {error}", "LOG TIME as in the log, TRUE TIME in ISO 8601 with an offset.") from error


def _run_time(text: str, run: RunView) -> int:
    """Run time of the edge of a window, or of a true time with an offset."""
    edge = _EDGE.fullmatch(text)
    windows = {window.window: window for window in run.windows}
    if edge and edge["window"] in windows:
        window = windows[edge["window"]]
        return window.t0_ns if edge["edge"] == "start" else window.t1_ns
    if edge and not text[0].isdigit():
        raise ValueError(f"the run has no window {edge['window']!r}; it has {', '.join(windows)}")
    realtime_ns = StampFormat("iso", None).parse(text).first_ns
    points = true_time_points(run)
    true_time = ClockMap([point[0] for point in points], [point[1] for point in points], 0.0, "realtime")
    return int(true_time.to_run(np.array([realtime_ns], np.int64))[0])
