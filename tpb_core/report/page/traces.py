"""The section of power traces: every domain that was measured, whole run and beginning of the measurement."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tpb_core.api.channel import LEDGER_KINDS, Channel
from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.phase_bands import PhaseBands
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.series import points_of
from tpb_core.report.page.tables import figure, folded, legend, note, section
from tpb_core.report.page.trace_chart import Trace, trace_chart, trace_of

_DETAIL_REFRESHES = 60.0
_LEAST_DETAIL_S = 2.0
_NO_BANDS = PhaseBands(np.zeros(0), np.zeros(0), np.zeros(0, np.int8))


def traces_section(page: RunPage) -> Element:
    """A picture a domain, twice: the whole run, and a detail in which single phases can be seen."""
    domains: dict[str, list[Channel]] = {}
    for channel in page.bundle.channels:
        if channel.kind in LEDGER_KINDS:
            domains.setdefault(channel.domain, []).append(channel)
    if not domains:
        return section("power", "Power", tag("p", "No channel of power or energy: no_sensor."))
    key = [("point", "power as it was read"), ("step", "mean power between changes of a counter")]
    key += [("prefill", "prefill"), ("mixed", "prefill and decode in one step"), ("decode", "decode")] if len(page.bands) else []
    missing = None if len(page.bands) else note(f"Phases are not known: {(page.facts.manifest.get('step_log') or {}).get('reason')}.")
    pictures = [part for name in sorted(domains) for part in _domain(page, name, domains[name])]
    return section("power", "Power", legend(key), missing, pictures, _gauges(page))


def _gauges(page: RunPage) -> Element | None:
    """Temperatures, clocks and other gauges over the whole run, behind a line that opens them."""
    drawn = []
    for channel in page.bundle.channels:
        if channel.kind != "gauge":
            continue
        points = points_of(page.bundle.series(channel.channel), page.origin_ns, *page.span_s)
        if points.read:
            trace, label = Trace({channel.channel: points}, {}), f"{channel.channel} over the whole run"
            drawing = trace_chart(trace, page.windows, _NO_BANDS, page.origin_ns, page.span_s, label=label, unit=channel.unit)
            drawn.append(figure(drawing, f"{channel.channel}, {channel.unit}: {points.read:,} readings"))
    return folded(f"Temperatures, clocks and other gauges ({len(drawn)})", drawn) if drawn else None


def _domain(page: RunPage, name: str, channels: list[Channel]) -> Iterator[Element]:
    unused = "" if any(channel.allocated for channel in channels) else ", not used by the run"
    yield tag("h3", f"{name} ({channels[0].scope}{unused})")
    bands = PhaseBands.of(page.bundle, page.origin_ns, [channel.device for channel in channels if channel.device is not None])
    whole = trace_of(page.bundle, channels, page.origin_ns, page.span_s)
    if not len(whole):
        yield tag("p", f"No reading that could be drawn of {', '.join(channel.channel for channel in channels)}: no_reading.")
        return
    yield figure(
        trace_chart(whole, page.windows, bands, page.origin_ns, page.span_s, label=f"Power of {name} over the whole run"),
        _caption(whole, channels, page.span_s),
    )
    span_s = _detail(page, channels)
    if span_s is None:
        return
    near = trace_of(page.bundle, channels, page.origin_ns, span_s)
    if len(near):
        label = f"Power of {name} at the beginning of the measurement"
        yield figure(
            trace_chart(near, page.windows, bands, page.origin_ns, span_s, label=label, near=True),
            f"Detail: {span_s[1] - span_s[0]:.3g} s from the beginning of the window measure. ",
            _caption(near, channels, span_s),
        )


def _detail(page: RunPage, channels: list[Channel]) -> tuple[float, float] | None:
    """The first refreshes of the measurement; None where the measurement is not much longer than that."""
    window = page.window()
    if window is None:
        return None
    begin, end = ((t - page.origin_ns) / 1e9 for t in (window.t0_ns, window.t1_ns))
    slowest_s = max((channel.update_ms or 100.0 for channel in channels), default=100.0) / 1e3
    length = max(_LEAST_DETAIL_S, _DETAIL_REFRESHES * slowest_s)
    return (begin, begin + length) if end - begin > 1.5 * length or page.span_s[1] > 3 * length else None


def _caption(trace: Trace, channels: list[Channel], span_s: tuple[float, float]) -> str:
    said = []
    for channel in channels:
        timing = (
            f"mean over {channel.averaging_ms:g} ms"
            if channel.averaging_ms
            else "averaging time not stated" * (channel.averaging_ms is None)
        )
        refresh = f"refreshed every {channel.update_ms:g} ms" if channel.update_ms else ""
        if channel.channel in trace.points:
            points = trace.points[channel.channel]
            drawn = len(points.t_s)
            thinned = f", {drawn:,} drawn (first, last, lowest and highest of each {(span_s[1] - span_s[0]) / 900:.3g} s)" * (
                drawn < points.read
            )
            about = ", ".join(part for part in (timing, refresh) if part)
            said.append(f"{channel.channel}: {points.read:,} readings{thinned}" + (f" ({about})" if about else ""))
        else:
            steps = trace.steps[channel.channel]
            joined = f", joined to {len(steps.w):,} steps" * (len(steps.w) < steps.changes)
            said.append(f"{channel.channel}: counter, {steps.changes:,} changes{joined}" + (f" ({refresh})" if refresh else ""))
        if channel.gain != 1.0 or channel.offset_w != 0.0:
            said[-1] += f"; drawn without its correction (gain {channel.gain:g}, offset {channel.offset_w:g} W)"
    return "; ".join(said) + "."
