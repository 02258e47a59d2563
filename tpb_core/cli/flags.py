"""Flags of the run command, told from the words that go to the configuration. They may stand anywhere."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field

from tpb_core.api.errors import BadInput

_NAMES = {
    "-m": "multirun",
    "--multirun": "multirun",
    "--dry-run": "dry_run",
    "--rerun": "rerun",
    "--no-wait": "no_wait",
    "-h": "help",
    "--help": "help",
}


@dataclass
class Flags:
    """What was asked for beside the configuration."""

    multirun: bool = False
    dry_run: bool = False
    rerun: bool = False
    no_wait: bool = False
    help: bool = False
    words: list[str] = field(default_factory=list)


def read_flags(argv: Sequence[str]) -> Flags:
    """Take the command line apart. Raises BadInput for an unknown flag."""
    flags = Flags()
    for text in argv:
        if text in _NAMES:
            setattr(flags, _NAMES[text], True)
        elif text.startswith("-"):
            near = difflib.get_close_matches(text, _NAMES, n=1)
            fix = f"Did you mean {near[0]}?" if near else "See the flags:  tpb --help"
            raise BadInput(f"flag {text!r} is not known.", fix)
        else:
            flags.words.append(text)
    return flags
