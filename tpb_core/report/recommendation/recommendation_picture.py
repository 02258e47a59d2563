"""A recommendation as a picture: joules per good request as bars with intervals; an SVG file of its own."""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core.report.page import chart
from tpb_core.report.page.axis import axis_of
from tpb_core.report.page.markup import Element, rendered, tag
from tpb_core.report.page.style import PICTURE
from tpb_core.report.recommendation.recommendation import BEST, MISSES, TIE, Candidate
from tpb_core.report.rounding import significant

_ROW, _TOP, _NAMES = 40.0, 52.0, 40.0


def recommendation_picture(candidates: Sequence[Candidate], title: str) -> str:
    """The text of the file. Bars of configurations that miss a target are pale; the interval is the total one where it is known."""
    drawn = [candidate for candidate in candidates if candidate.energy is not None and candidate.energy.value is not None]
    ends = [_ends(candidate)[1] for candidate in drawn]
    x = axis_of(0.0, max(ends, default=1.0), _NAMES, chart.WIDTH - 110, from_zero=True)
    bottom = _TOP + _ROW * len(candidates)
    content: list[Element | None] = [chart.text(_NAMES, 20, title, class_="strong")]
    for value, label in x.labels(8):
        content.append(tag("path", d=f"M{x.at(value):.6g} {_TOP - 10:g}V{bottom:g}", class_="zero" if value == 0 else "grid"))
        content.append(chart.text(x.at(value), bottom + 17, label, anchor="middle", class_="soft"))
    for number, candidate in enumerate(candidates, start=1):
        content += _bar(candidate, number, _TOP + _ROW * (number - 1), x.at)
    content.append(chart.text(_NAMES, bottom + 36, "J per good request; lines are 95 % intervals", class_="soft"))
    return rendered(chart.picture(bottom + 48, *content, label=title, alone=PICTURE)) + "\n"


def _bar(candidate: Candidate, number: int, top: float, at: object) -> list[Element | None]:
    assert callable(at)
    name = f"{candidate.configuration.label}" + (f" ({candidate.reason})" if candidate.reason else "")
    found: list[Element | None] = [
        chart.text(_NAMES - 8, top + 27, str(number), anchor="end"),
        chart.text(_NAMES + 6, top + 9, name[:140], class_="soft"),
    ]
    if candidate.energy is None or candidate.energy.value is None:
        return found
    value, (low, high) = candidate.energy.value, _ends(candidate)
    kind = {BEST: "dot-front", TIE: "dot-tie", MISSES: "dot wash"}.get(candidate.standing, "dot")
    found.append(chart.rectangle(at(0.0), at(value), top + 15, top + 31, kind, f"{candidate.configuration.label}: {value:.4g} J"))
    if high > low:
        found.append(
            tag(
                "path",
                d=f"M{at(low):.6g} {top + 23:g}H{at(high):.6g}M{at(low):.6g} {top + 19:g}v8M{at(high):.6g} {top + 19:g}v8",
                class_="error",
            )
        )
    found.append(chart.text(at(high) + 8, top + 27, f"{significant(value, 4)} J" + (" tie" if candidate.standing == TIE else "")))
    return found


def _ends(candidate: Candidate) -> tuple[float, float]:
    assert candidate.energy is not None and candidate.energy.value is not None
    spread = candidate.energy.total or candidate.energy.within
    return (spread.low, spread.high) if spread else (candidate.energy.value, candidate.energy.value)
