"""The front as a picture: energy over speed, with intervals; an SVG file of its own."""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core.report.page import chart
from tpb_core.report.page.axis import Axis, axis_of
from tpb_core.report.page.markup import Element, rendered, tag
from tpb_core.report.page.style import PICTURE
from tpb_core.report.pareto.front import ENERGIES, FRONT, SPEEDS, TIE, Place

_HEIGHT, _MOST_LISTED, _LINE = 480.0, 40, 17.0
_LOGARITHMIC_FROM = 8.0


def pareto_picture(places: Sequence[Place], energy: str, speed: str, caption: str) -> str:
    """The text of the file. An axis whose values span more than a factor of 8 is logarithmic."""
    x = _axis([place.speed for place in places], 80.0, chart.WIDTH - 20)
    y = _axis([end for place in places for end in _ends(place)], _HEIGHT - 50, 54.0)
    title, more_is_better = SPEEDS[speed]
    content: list[Element | None] = [
        chart.text(80, 22, f"{ENERGIES[energy][1]} against {title}", class_="strong"),
        chart.text(80, 38, caption, class_="soft"),
        *chart.grid(x, y, f"{title} ({'more' if more_is_better else 'less'} is better)", "J"),
    ]
    front = sorted((place for place in places if place.standing == FRONT), key=lambda place: place.speed)
    content.append(chart.path(_stairs(front, x, y, more_is_better), "front"))
    for place in sorted(places, key=lambda place: place.standing == FRONT):
        content += _point(place, places.index(place) + 1, x, y)
    content += _key(x)
    for number, place in enumerate(places[:_MOST_LISTED], start=1):
        content.append(chart.text(80, _HEIGHT + _LINE * number, f"{number}  {place.configuration.label}"[:150], class_="soft"))
    height = _HEIGHT + _LINE * (min(len(places), _MOST_LISTED) + 1)
    return rendered(chart.picture(height, *content, label=f"{ENERGIES[energy][1]} against {title}", alone=PICTURE)) + "\n"


def _point(place: Place, number: int, x: Axis, y: Axis) -> list[Element | None]:
    across, value = x.at(place.speed), place.energy.value or 0.0
    kind = {FRONT: "dot-front", TIE: "dot-tie"}.get(place.standing, "dot")
    low, high = _ends(place)
    title = f"{place.configuration.label}: {value:.4g} J, {place.speed:.4g}, {place.standing}"
    bar = tag("path", d=f"M{across:.5g} {y.at(low):.5g}V{y.at(high):.5g}", class_="error") if high > low else None
    dot = tag("circle", tag("title", title), cx=round(across, 2), cy=round(y.at(value), 2), r=5, class_=kind)
    return [bar, dot, chart.text(across + 8, y.at(value) - 6, str(number))]


def _ends(place: Place) -> tuple[float, float]:
    spread, value = place.energy.total or place.energy.within, place.energy.value or 0.0
    return (spread.low, spread.high) if spread else (value, value)


def _stairs(front: Sequence[Place], x: Axis, y: Axis, more_is_better: bool) -> str:
    """The border of what has been reached: between two points the less good of each."""
    d = ""
    for number, place in enumerate(front):
        across, up = x.at(place.speed), y.at(place.energy.value or 0.0)
        if not number:
            d = f"M{across:.5g} {up:.5g}"
        else:
            d += f"V{up:.5g}H{across:.5g}" if more_is_better else f"H{across:.5g}V{up:.5g}"
    return d


def _axis(values: Sequence[float], begin: float, end: float) -> Axis:
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOGARITHMIC_FROM:
        return Axis(low / 1.25, high * 1.25, begin, end, logarithmic=True)
    return axis_of(low, high, begin, end, margin=0.12)


def _key(x: Axis) -> list[Element]:
    found = []
    for number, (kind, name) in enumerate((("dot-front", "on the front"), ("dot-tie", "tie"), ("dot", "beaten"))):
        across = x.end - 290 + 110 * number
        found += [tag("circle", cx=round(across, 1), cy=18, r=5, class_=kind), chart.text(across + 10, 22, name)]
    return found
