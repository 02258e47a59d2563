"""The benches with what each says of itself: what it measures, the command to repeat it, and its limits."""

from __future__ import annotations

import ast
from pathlib import Path

from generator.markdown import first_sentence, indented, table


def page(folder: Path) -> str:
    """One section a script; nothing is run."""
    docstrings = {path.name: ast.get_docstring(ast.parse(path.read_text())) or "" for path in sorted(folder.glob("*.py"))}
    rows = [(f"[`{name}`](#{name.replace('.', '')})", first_sentence(text)) for name, text in docstrings.items()]
    lines = [
        "# Benches",
        "",
        "What tpb costs and how well it does, each with the command that repeats it. A claim about a ratio is its lower 95 % bound over"
        " interleaved pairs in one run; a figure without its command is no claim.",
        "",
        *table(("script", "what"), rows),
    ]
    for name, text in docstrings.items():
        lines += [f"## {name}", "", *indented(text)]
    return "\n".join(lines)
