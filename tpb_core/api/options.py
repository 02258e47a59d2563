"""Options of plugins: dataclass fields that know their help text, unit and permitted values.

One dataclass is all that a plugin author writes: Hydra's schema, the table of `tpb +engine=x --help` and the reference pages come
from it. Plain mutable dataclasses (no frozen, no Literal): that is what OmegaConf 2.3 takes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

MISSING = "???"
"""The default of an option that must be given."""


def option(
    default: Any, *, help: str, unit: str = "", choices: Sequence[str] = (), secret: bool = False, minimum: float | None = None
) -> Any:
    """A dataclass field for a config class. Lists and dicts are copied for each instance.

    `unit` is the unit of the value ("" for none), `choices` the permitted strings, `secret` keeps the value out of everything stored,
    `minimum` is the least permitted number.
    """
    metadata = {"help": help, "unit": unit, "choices": tuple(choices), "secret": secret, "minimum": minimum}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)
