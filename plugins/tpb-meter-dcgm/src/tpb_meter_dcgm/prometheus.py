"""The Prometheus text format: samples with labels, whatever the bytes. Lines that are no samples are left out. Pure parsing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{.*\})?\s+(\S+)(?:\s+(-?\d+))?\s*")
LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|$)')
ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


class Sample(NamedTuple):
    """One sample: metric, labels and the value as text (whole numbers above 2**53 would not survive as floats)."""

    metric: str
    labels: dict[str, str]
    text: str


def parse_samples(text: str) -> Iterator[Sample]:
    """The samples of a page. The last line counts only where it ends: a page cut off in the middle of a number gives no wrong one."""
    for line in text.splitlines(keepends=True):
        match = LINE.fullmatch(line) if line.endswith("\n") and not line.startswith("#") else None
        if match is None:
            continue
        labels = _labels(match.group(2) or "{}")
        if labels is not None and _is_number(match.group(3)):
            yield Sample(match.group(1), labels, match.group(3))


def _labels(braces: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    rest = braces[1:-1]
    while rest.strip():
        match = LABEL.match(rest)
        if match is None:
            return None
        found[match.group(1)] = re.sub(r'\\[n"\\]', lambda escape: ESCAPES[escape.group()], match.group(2))
        rest = rest[match.end() :]
    return found


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
