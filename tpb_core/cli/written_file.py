"""Files that a command writes because it was asked to: pictures and tables."""

from __future__ import annotations

from pathlib import Path

from tpb_core.api.errors import BadInput


def write_text(target: str, content: str) -> None:
    """Write a file in UTF-8. Raises BadInput where it cannot be written."""
    try:
        Path(target).write_text(content, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror}", "Give another file.") from None
