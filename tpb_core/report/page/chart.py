"""The frame of a picture: grid, axis texts, and paths that stay short."""

from __future__ import annotations

from collections.abc import Iterable

from tpb_core.report.page.axis import Axis, Floats
from tpb_core.report.page.markup import Content, Element, tag

WIDTH = 1000.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 14.0, 20.0, 38.0


def picture(height: float, *content: Content | Iterable[Content], label: str, width: float = WIDTH, alone: str | None = None) -> Element:
    """An SVG. `label` is read out to those who cannot see it; `alone` is the style sheet of one that is a file of its own."""
    style = None if alone is None else tag("style", alone)
    space = None if alone is None else "http://www.w3.org/2000/svg"
    return tag("svg", style, *content, xmlns=space, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label)


def text(x: float, y: float, value: str, *, anchor: str | None = None, class_: str | None = None) -> Element:
    """A line of text."""
    return tag("text", value, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=class_)


def rectangle(x0: float, x1: float, y0: float, y1: float, class_: str, title: str | None = None) -> Element:
    """A rectangle between two places on each axis, in any order; the title is shown to a pointer that rests on it."""
    return tag(
        "rect",
        None if title is None else tag("title", title),
        x=round(min(x0, x1), 2),
        y=round(min(y0, y1), 2),
        width=round(abs(x1 - x0), 2),
        height=round(abs(y1 - y0), 2),
        class_=class_,
    )


def path(d: str, class_: str) -> Element | None:
    """A path; None where there is nothing to draw."""
    return tag("path", d=d, class_=class_) if d else None


def points(x: Floats, y: Floats) -> str:
    """Path of single points, for a stroke with round caps."""
    return "".join(f"M{a:.5g} {b:.5g}h0" for a, b in zip(x, y, strict=True))


def steps(begin: Floats, end: Floats, y: Floats) -> str:
    """Path of a level from `begin` to `end` each, joined where one begins as the last one ends."""
    pieces = []
    last = None
    for x0, x1, level in zip(begin, end, y, strict=True):
        joined = last is not None and abs(last - x0) < 0.02
        pieces.append(f"{'V' + format(level, '.5g') if joined else f'M{x0:.5g} {level:.5g}'}H{x1:.5g}")
        last = x1
    return "".join(pieces)


def boxes(begin: Floats, end: Floats, top: float | Floats, bottom: float | Floats) -> str:
    """Path of filled boxes."""
    import numpy as np

    tops, bottoms = np.broadcast_to(top, begin.shape), np.broadcast_to(bottom, begin.shape)
    return "".join(
        f"M{x0:.6g} {low:.5g}H{x1:.6g}V{high:.5g}H{x0:.6g}z" for x0, x1, low, high in zip(begin, end, bottoms, tops, strict=True)
    )


def grid(x: Axis, y: Axis, x_title: str, y_title: str, *, x_most: int = 10, y_most: int = 6, lines: bool = True) -> list[Element]:
    """Grid lines and texts of both axes. Places of `y` run downwards: `begin` is the bottom."""
    found = []
    for value, label in y.labels(y_most):
        place = y.at(value)
        if lines:
            found.append(tag("path", d=f"M{x.begin:g} {place:.5g}H{x.end:g}", class_="grid"))
        found.append(text(x.begin - 6, place + 4, label, anchor="end", class_="soft"))
    for value, label in x.labels(x_most):
        place = x.at(value)
        found.append(tag("path", d=f"M{place:.6g} {y.begin:g}v4", class_="frame"))
        found.append(text(place, y.begin + 17, label, anchor="middle", class_="soft"))
    found.append(tag("path", d=f"M{x.begin:g} {y.begin:g}H{x.end:g}", class_="frame"))
    found.append(text((x.begin + x.end) / 2, y.begin + 33, x_title, anchor="middle", class_="soft"))
    found.append(text(x.begin - 58, y.end - 8, y_title, class_="soft"))
    return found
