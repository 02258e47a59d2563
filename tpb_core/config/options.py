"""A config dataclass as a table: name, type, default, unit, help. What `--help` prints and the reference pages are made from."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from tpb_core.api.options import MISSING


class OptionRow(NamedTuple):
    """One option. `default` is the value itself; `required` options have none."""

    name: str
    type: str
    default: Any
    unit: str
    help: str
    choices: tuple[str, ...] = ()
    secret: bool = False
    minimum: float | None = None

    @property
    def required(self) -> bool:
        """Whether the user must give it."""
        return bool(self.default == MISSING)

    @property
    def default_text(self) -> str:
        """The default as it would be typed."""
        if self.required:
            return "(must be given)"
        if self.default is None:
            return "null"
        if isinstance(self.default, bool):
            return str(self.default).lower()
        return str(self.default)


def option_table(config_class: type) -> list[OptionRow]:
    """The options of a config dataclass in the order of its fields, without `name`, which the choice itself gives."""
    return [option_row(field) for field in dataclasses.fields(config_class) if field.name != "name"]


def option_row(field: dataclasses.Field[Any]) -> OptionRow:
    """One dataclass field as a row."""
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    elif default is dataclasses.MISSING:
        default = MISSING
    return OptionRow(
        name=field.name,
        type=type_text(field.type),
        default=default,
        unit=field.metadata.get("unit", ""),
        help=field.metadata.get("help", ""),
        choices=tuple(field.metadata.get("choices", ())),
        secret=bool(field.metadata.get("secret", False)),
        minimum=field.metadata.get("minimum"),
    )


def type_text(annotation: Any) -> str:
    """An annotation as people read it: `int`, `float | None`, `list[str]`."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    if not isinstance(annotation, str) and "[" in str(annotation):
        text = str(annotation)
    return text.replace("typing.", "").replace("<class '", "").replace("'>", "")
