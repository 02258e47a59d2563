"""The power of one domain over time: readings, windows behind them, what the engine did below or over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tpb_core.api.attributor import RunView, Window
from tpb_core.api.channel import Channel
from tpb_core.report.page import chart
from tpb_core.report.page.axis import Axis, Floats, axis_of
from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.phase_bands import KINDS, PhaseBands
from tpb_core.report.page.series import Points, Steps, points_of, steps_of

_HEIGHT, _STRIP = 300.0, 16.0
_COLUMNS = 460
_LEAST_LABEL = 46.0


@dataclass(frozen=True)
class Trace:
    """The channels of a domain in a span of the run: power as points, counters as steps."""

    points: dict[str, Points]
    steps: dict[str, Steps]

    @property
    def highest_w(self) -> float:
        """The highest power; 1 where there is none."""
        return max((float(level.max()) for level in self._levels()), default=1.0)

    @property
    def lowest_w(self) -> float:
        """The lowest power; 0 where there is none."""
        return min((float(level.min()) for level in self._levels()), default=0.0)

    def __len__(self) -> int:
        return sum(len(level) for level in self._levels())

    def _levels(self) -> list[Floats]:
        found = [points.w for points in self.points.values()] + [steps.w for steps in self.steps.values()]
        return [level for level in found if len(level)]


def trace_of(run: RunView, channels: list[Channel], origin_ns: int, span_s: tuple[float, float]) -> Trace:
    """Read the channels of a domain."""
    points = {c.channel: points_of(run.series(c.channel), origin_ns, *span_s) for c in channels if c.kind == "power"}
    steps = {c.channel: steps_of(run.series(c.channel), c, origin_ns, *span_s) for c in channels if c.kind == "energy_counter"}
    return Trace(points, steps)


def trace_chart(
    trace: Trace,
    windows: list[Window],
    bands: PhaseBands,
    origin_ns: int,
    span_s: tuple[float, float],
    *,
    label: str,
    near: bool = False,
    unit: str = "W",
) -> Element:
    """The picture. `near`: phases stand behind the readings over the whole height, as in a detail; else in a strip below them.

    Only powers stand on zero.
    """
    strip = _STRIP if len(bands) and not near else 0.0
    x = Axis(*span_s, chart.LEFT, chart.WIDTH - chart.RIGHT)
    y = axis_of(trace.lowest_w, trace.highest_w, _HEIGHT - chart.BOTTOM - strip, chart.TOP + 8, from_zero=unit == "W", margin=0.08)
    foot = Axis(y.low, y.high, y.begin + strip, y.end)
    content: list[Element | None] = [*_windows(windows, origin_ns, x, y, span_s)]
    if near:
        content += [
            chart.path(chart.boxes(x.places(begin), x.places(end), y.end, y.begin), f"{kind} wash")
            for kind in KINDS[:3]
            for begin, end in [bands.spans(kind, *span_s)]
        ]
    elif strip:
        content += _strip(bands, x, y.begin + 3, y.begin + strip - 1, span_s)
    content += _axes(x, y, foot, unit)
    for steps in trace.steps.values():
        content.append(chart.path(chart.steps(x.places(steps.begin_s), x.places(steps.end_s), y.places(steps.w)), "step"))
    for points in trace.points.values():
        content.append(chart.path(chart.points(x.places(points.t_s), y.places(points.w)), "point"))
    return chart.picture(_HEIGHT, *content, label=label)


def _axes(x: Axis, y: Axis, foot: Axis, unit: str) -> list[Element]:
    """The grid of the readings, and the time axis below the strip."""
    found = []
    for value, text in y.labels(6):
        found.append(tag("path", d=f"M{x.begin:g} {y.at(value):.5g}H{x.end:g}", class_="zero" if value == 0 else "grid"))
        found.append(chart.text(x.begin - 6, y.at(value) + 4, text, anchor="end", class_="soft"))
    for value, text in x.labels(12):
        found.append(tag("path", d=f"M{x.at(value):.6g} {foot.begin:g}v4", class_="frame"))
        found.append(chart.text(x.at(value), foot.begin + 17, text, anchor="middle", class_="soft"))
    found.append(chart.text(x.end, foot.begin + 33, "seconds since the run began", anchor="end", class_="soft"))
    found.append(chart.text(x.begin - 58, y.end - 14, unit, class_="soft"))
    return found


def _windows(windows: list[Window], origin_ns: int, x: Axis, y: Axis, span_s: tuple[float, float]) -> list[Element]:
    found = []
    for number, window in enumerate(windows):
        begin, end = ((t - origin_ns) / 1e9 for t in (window.t0_ns, window.t1_ns))
        begin, end = max(begin, span_s[0]), min(end, span_s[1])
        if end <= begin:
            continue
        title = f"{window.window}: {window.duration_s:.6g} s"
        kind = window.window.split("/")[0]
        if kind == "steady":  # lies within `measure`
            found.append(tag("path", d=f"M{x.at(begin):.6g} {y.end + 2:g}H{x.at(end):.6g}", class_="zero"))
        elif kind == "measure" or number % 2 == 0:
            found.append(chart.rectangle(x.at(begin), x.at(end), y.begin, y.end, "band-measure" if kind == "measure" else "band", title))
        room = x.at(end) - x.at(begin)
        if room >= max(_LEAST_LABEL, 6.4 * len(window.window)) and "/" not in window.window:
            middle, line = (x.at(begin) + x.at(end)) / 2, y.end + 15 if kind == "steady" else y.end - 6
            found.append(chart.text(middle, line, window.window, anchor="middle", class_="strong" if kind == "measure" else "soft"))
    return found


def _strip(bands: PhaseBands, x: Axis, top: float, bottom: float, span_s: tuple[float, float]) -> list[Element | None]:
    """Each column of the strip shows how the time that it stands for was shared."""
    shares = bands.shares(*span_s, _COLUMNS)
    edges = np.linspace(x.begin, x.end, _COLUMNS + 1)
    level = np.full(_COLUMNS, bottom)
    found = []
    for kind in KINDS[:3]:
        height = shares[kind] * (bottom - top)
        drawn = height > 0.05
        found.append(chart.path(chart.boxes(edges[:-1][drawn], edges[1:][drawn], (level - height)[drawn], level[drawn]), kind))
        level = level - height
    return found
