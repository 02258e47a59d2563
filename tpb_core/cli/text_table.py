"""A plain text table whose last column is wrapped to the width of the terminal. For commands that must start fast."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

_GAP = "  "
_LEAST_LAST_COLUMN = 24


def text_table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), *, indent: str = "") -> str:
    """The table as lines, without a newline at the end."""
    everything = [list(header)] * bool(header) + [list(row) for row in rows]
    if not everything:
        return ""
    widths = [max(len(row[i]) for row in everything) for i in range(len(everything[0]) - 1)]
    left = len(indent) + sum(widths) + len(_GAP) * len(widths)
    room = max(_LEAST_LAST_COLUMN, shutil.get_terminal_size((140, 24)).columns - left - 1)
    lines = []
    for number, row in enumerate(everything):
        start = indent + "".join(cell.ljust(width) + _GAP for cell, width in zip(row, widths, strict=False))
        first, *more = textwrap.wrap(row[-1], room, break_on_hyphens=False) or [""]
        lines.append((start + first).rstrip())
        lines += [" " * left + line for line in more]
        if header and number == 0:
            lines.append(
                indent + _GAP.join("-" * width for width in [*widths, max(len(r[-1]) for r in everything)])[: room + left - len(indent)]
            )
    return "\n".join(lines)
