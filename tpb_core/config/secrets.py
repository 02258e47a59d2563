"""Keep the values of secret options out of everything that is stored or shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tpb_core.config.chosen import Chosen
from tpb_core.config.options import option_table
from tpb_core.config.words import read_word

REDACTED = "(redacted)"


def secret_keys(chosen: Iterable[Chosen]) -> set[str]:
    """Full keys (`engine.api_key`) of the secret options of the chosen plugins."""
    return {f"{c.section}.{row.name}" for c in chosen for row in option_table(c.config_class) if row.secret}


def redacted(config: Mapping[str, Any], secrets: set[str], prefix: str = "") -> dict[str, Any]:
    """A copy in which each secret that was given says only that it was."""
    copy: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key in secrets:
            copy[name] = None if value is None else REDACTED
        else:
            copy[name] = redacted(value, secrets, f"{key}.") if isinstance(value, Mapping) else value
    return copy


def redacted_words(words: Sequence[str], secrets: set[str]) -> list[str]:
    """What the user typed, with the values of secrets taken out; also where a whole section was given at once."""
    shown = []
    for text in words:
        word = read_word(text)
        hides = any(secret == word.key or (secret.startswith(f"{word.key}.") and "{" in (word.value or "")) for secret in secrets)
        shown.append(f"{word.key}={REDACTED}" if hides else text)
    return shown
