"""Elements of HTML and SVG. There is no way round escaping: a child is an element or a text, and a text is always escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*\Z")
_VOID = {"meta", "br", "hr", "col"}
_LEFT_OUT = {"script", "iframe", "object", "embed", "link", "base", "img", "image", "use", "foreignObject", "animate", "set", "form"}
_ATTRIBUTES_LEFT_OUT = {"style", "src", "srcdoc", "action", "formaction", "xlink-href"}
# What browsers drop or obey and readers cannot see: control characters, and those that turn the direction of the text round them.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Element:
    """An element with its attributes and children; made by `tag`."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Element | str, ...]


Content = Element | str | None


def tag(element: str, /, *children: Content | Iterable[Content], **attributes: object) -> Element:
    """An element. `class_` is class and `_` within an attribute's name a hyphen; attributes that are None are left out.

    Raises ValueError for what a page of ours never has: scripts, event handlers, style attributes, links out of the page.
    """
    if not _NAME.match(element) or element in _LEFT_OUT:
        raise ValueError(f"no element {element!r} belongs into a report")
    named = tuple((_attribute(key, value), _number(value)) for key, value in attributes.items() if value is not None)
    return Element(element, named, tuple(_flat(children)))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    if not _NAME.match(name) or name.lower().startswith("on") or name.lower() in _ATTRIBUTES_LEFT_OUT:
        raise ValueError(f"no attribute {name!r} belongs into a report")
    if name == "href" and not str(value).startswith("#"):
        raise ValueError("a report has no links out of itself")
    return name


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _flat(children: Iterable[Content | Iterable[Content]]) -> Iterator[Element | str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, (Element, str)):
            yield child
        else:
            yield from _flat(child)


def text_of(value: object) -> str:
    """A value as a text in which what cannot be seen is spelt out."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", str(value))


def rendered(element: Element) -> str:
    """The element as HTML, or as XML that HTML understands too."""
    pieces: list[str] = []
    _render(element, pieces)
    return "".join(pieces)


def _render(element: Element | str, pieces: list[str]) -> None:
    if isinstance(element, str):
        pieces.append(html.escape(text_of(element), quote=False))
        return
    attributes = "".join(f' {name}="{html.escape(text_of(value), quote=True)}"' for name, value in element.attributes)
    if element.name in _VOID:
        pieces.append(f"<{element.name}{attributes}>")
        return
    pieces.append(f"<{element.name}{attributes}>")
    for child in element.children:
        _render(child, pieces)
    pieces.append(f"</{element.name}>")
