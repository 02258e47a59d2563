"""The words of a command taken apart: flags with a value, switches, and what is neither."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tpb_core.api.errors import BadInput


class Words:
    """`values` maps flags that take a value to their defaults (None: no default), `switches` are flags without one."""

    def __init__(self, command: str, argv: Sequence[str], *, values: Mapping[str, str | None], switches: Sequence[str] = ()) -> None:
        self._command = command
        self._values = dict(values)
        self._on: set[str] = set()
        self.plain: list[str] = []
        """Words that are no flags, in their order."""
        self.help = any(word in ("-h", "--help") for word in argv)
        words = iter(() if self.help else argv)
        for word in words:
            name, given, value = word.partition("=")
            if name in values:
                self._values[name] = value if given else next(words, "")
                if not self._values[name]:
                    raise BadInput(f"{name} needs a value.", f"Type: tpb {command} --help")
            elif word in switches:
                self._on.add(word)
            elif word.startswith("-") and word != "-":
                near = difflib.get_close_matches(name, [*values, *switches], n=1)
                fix = f"Did you mean {near[0]}?" if near else f"Type: tpb {command} --help"
                raise BadInput(f"tpb {command} knows no flag {name!r}.", fix)
            else:
                self.plain.append(word)

    def on(self, switch: str) -> bool:
        """Whether a switch was given."""
        return switch in self._on

    def optional(self, flag: str) -> str | None:
        """The value of a flag, None where it has no default and was not given."""
        return self._values[flag]

    def value(self, flag: str) -> str:
        """The value of a flag that must be there. Raises BadInput."""
        value = self._values[flag]
        if value is None:
            raise BadInput(f"tpb {self._command} needs {flag}.", f"Type: tpb {self._command} --help")
        return value

    def path(self, flag: str) -> Path:
        """The value as a path."""
        return Path(self.value(flag))

    def choice(self, flag: str, choices: Sequence[str]) -> str:
        """The value, one of the choices. Raises BadInput."""
        value = self.value(flag)
        if value not in choices:
            near = difflib.get_close_matches(value, choices, n=1)
            raise BadInput(f"{flag} cannot be {value!r}.", f"Did you mean {near[0]}?" if near else f"Choices: {', '.join(choices)}")
        return value
