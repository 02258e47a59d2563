"""The Prometheus text format: samples by name, or an error that names the line. Also reads OpenMetrics."""

from __future__ import annotations

import math
import re
from collections.abc import Collection

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(,|(?=\}))')
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|[iI]nf|[nN]a[nN])")


class NotPrometheus(ValueError):
    """The text is not in the format; says in which line and why."""


def read_metrics(text: str, wanted: Collection[str]) -> dict[str, float]:
    """Sums over all label sets of the samples named in `wanted`; names without a sample are left out, and so are NaN and infinite values.

    Samples of other names are checked to be samples and passed over. Raises NotPrometheus.
    """
    sums: dict[str, float] = {}
    spoilt: set[str] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, value = _sample(line, number)
        if name in wanted:
            if math.isfinite(value):
                sums[name] = sums.get(name, 0.0) + value
            else:
                spoilt.add(name)
    return {name: total for name, total in sums.items() if name not in spoilt and math.isfinite(total)}


def _sample(line: str, number: int) -> tuple[str, float]:
    match = _NAME.match(line)
    if match is None:
        raise NotPrometheus(f"line {number} begins with no metric name: {line[:60]!r}")
    rest = line[match.end() :]
    if rest.startswith("{"):
        rest = rest[_labels_end(rest, number) :]
    value = rest.split("#", 1)[0].split()  # OpenMetrics may add an exemplar after #
    if not 1 <= len(value) <= 2 or not _NUMBER.fullmatch(value[0]):
        raise NotPrometheus(f"line {number} has no value: {line[:60]!r}")
    return match[0], float(value[0])


def _labels_end(rest: str, number: int) -> int:
    place = 1
    while True:
        if rest[place:].lstrip().startswith("}"):
            return rest.index("}", place) + 1
        match = _LABEL.match(rest, place)
        if match is None:
            raise NotPrometheus(f"line {number} has labels that cannot be read: {rest[place : place + 60]!r}")
        place = match.end()
