"""The words that a user types (`+engine=vllm`, `load.batch_size=8`), told apart and brought into one form for Hydra.

Hydra wants `+` where a group is not in the defaults list, none where it is, and `++` to be indifferent for a value. People should not
have to know: every spelling works for every group and option.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tpb_core.api.errors import BadInput
from tpb_core.config.groups import CORE_SECTIONS, GROUPS

_WORD = re.compile(r"(?P<sign>\+\+|\+|~|)(?P<key>[^=\s+~][^=\s]*)(?:=(?P<value>.*))?", re.DOTALL)

_HOME = re.compile(r"(?<=[=,\[])~(?=/)")
_UNREADABLE = re.compile(r"[~=()&#!^;<>]")
_STRUCTURED = re.compile(r"""[\[\]{}'",$\\]|^\w+\(""")
_TEMPLATE = re.compile(r"""[^\[\]{}'",$\\]+(\{\w+\}[^\[\]{}'",$\\]*)+""")
_NOT_A_NAME = re.compile(r"[\d.+-]+|true|false", re.IGNORECASE)
_NO_NAMES = re.compile(r"[${}()*]|^(null|none)$")


class Word(NamedTuple):
    """One override as typed: `sign` is `+`, `++`, `~` or nothing; `value` is None without `=`."""

    sign: str
    key: str
    value: str | None

    @property
    def names(self) -> list[str]:
        """The names that this word chooses, where it chooses from a group and names them plainly; otherwise none."""
        if self.key not in GROUPS or self.sign == "~" or self.value is None or _NO_NAMES.search(self.value):
            return []
        return [name.strip(" '\"") for name in self.value.strip(" []").split(",") if name.strip()]


def read_word(text: str) -> Word:
    """Take a word apart. Raises BadInput where it is no override at all."""
    match = _WORD.fullmatch(text)
    if match is None or (match["value"] is None and match["sign"] != "~"):
        known = ", ".join((*GROUPS, *CORE_SECTIONS))
        raise BadInput(
            f"{text!r} is not understood.", "Options are written name=value, for example:  load.batch_size=8", [f"Groups: {known}"]
        )
    return Word(match["sign"], match["key"], match["value"])


def with_home(text: str) -> str:
    """A word with `~/` at the beginning of a value made absolute: shells leave it as it is there, and Hydra cannot read it."""
    return _HOME.sub(lambda _: os.path.expanduser("~"), text)


def quoted(value: str) -> str:
    """A value in quotes where it is plain text with a character that Hydra reads only in quotes: `/a~b/c`, `x=y`, `serve --port {port}`."""
    needs_quotes = (_UNREADABLE.search(value) and not _STRUCTURED.search(value)) or _TEMPLATE.fullmatch(value)
    return f'"{value}"' if needs_quotes else value


def for_hydra(words: Sequence[str], extra_groups: Collection[str] = ()) -> list[str]:
    """The same words as Hydra wants them: a bare `engine=x`, `+own=x` for groups outside the defaults list, `++a.b=c` for values."""
    return [_for_hydra(read_word(with_home(text)), extra_groups) for text in words]


def _for_hydra(word: Word, extra_groups: Collection[str]) -> str:
    if word.key == "hydra" or word.key.startswith(("hydra.", "hydra/")):
        raise BadInput(f"{word.key!r}: options of Hydra itself have no effect here.", "Leave it out. Where results go:  out.dir=FOLDER")
    if word.sign == "~":
        return f"~{word.key}" + (f"={word.value}" if word.value is not None else "")
    assert word.value is not None
    options = word.value.lstrip().startswith("{")
    if word.key in GROUPS and not options:
        return f"{word.key}={_choice(word.key, word.value)}"
    if word.key in extra_groups and not options:
        return f"+{word.key}={word.value}"
    return f"++{word.key}={quoted(word.value)}"


def _choice(group: str, value: str) -> str:
    """A choice; nothing at all can be chosen of the groups that take several."""
    if _NOT_A_NAME.fullmatch(value):
        return f"'{value}'"  # Hydra would take it for a number
    if value.strip() not in ("", "null", "none"):
        return value
    if GROUPS[group].several or group == "experiment":
        return "[]"
    raise BadInput(f"{group}={value}: a run needs one.", f"Type:  {group}=NAME", ["See what there is:  tpb plugins list"])
