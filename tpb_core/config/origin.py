"""Where a value of a composed configuration came from: the command line, or a preset's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tpb_core.config.words import Word, read_word


class Origin:
    """Answers for one composition. Looked at only when something is wrong."""

    def __init__(self, words: Sequence[str], preset_files: Sequence[Path]) -> None:
        self._words = words
        self._preset_files = preset_files

    def of(self, key: str) -> str:
        """` (in PLACE)`, or nothing for the command line, where the user sees what was typed."""
        if any(_sets(read_word(text), key) for text in self._words):
            return ""
        for path in self._preset_files:
            if _has(path, key):
                return f" (in {path})"
        return ""


def _sets(word: Word, key: str) -> bool:
    """Whether a typed word gives a value to a key: the key itself, something below it, or `{...}` for a whole section."""
    whole_section = key.startswith(f"{word.key}.") and "{" in (word.value or "")
    return key == word.key or word.key.startswith(f"{key}.") or whole_section


def _has(path: Path, key: str) -> bool:
    """Whether a preset sets a key: whole, or below the group that its folder names."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    group = path.parent.name
    candidates = (key, key.removeprefix(f"{group}."))
    return any(_reaches(content, candidate.split(".")) for candidate in candidates)


def _reaches(content: Any, parts: Sequence[str]) -> bool:
    for part in parts:
        if not isinstance(content, Mapping) or part not in content:
            return False
        content = content[part]
    return True
