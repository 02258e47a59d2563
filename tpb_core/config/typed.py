"""Hold a composed configuration against the dataclasses of the core and of the chosen plugins: types, unknown options, permitted values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, InterpolationResolutionError, OmegaConfBaseException, ValidationError

from tpb_core.api.errors import BadInput
from tpb_core.config.chosen import Chosen, schema_of
from tpb_core.config.groups import CORE_SECTIONS, GROUPS
from tpb_core.config.options import OptionRow, option_table
from tpb_core.config.origin import Origin
from tpb_core.config.schema import OutOptions, RunOptions, SamplingOptions, SloOptions
from tpb_core.drivers import near_misses

CORE_CLASSES: dict[str, type] = {"run": RunOptions, "sampling": SamplingOptions, "slo": SloOptions, "out": OutOptions}


def typed(composed: Mapping[str, Any], chosen: Sequence[Chosen], origin: Origin) -> dict[str, Any]:
    """The configuration with all defaults filled in and every value of the type that its option declares.

    Raises BadInput naming option, place and what to type.
    """
    tables = {c.section: option_table(c.config_class) for c in chosen} | {name: option_table(cls) for name, cls in CORE_CLASSES.items()}
    _check_sections(composed, origin)
    schema = OmegaConf.create({name: OmegaConf.structured(cls) for name, cls in CORE_CLASSES.items()})
    for choice in chosen:
        OmegaConf.update(schema, choice.section, schema_of(choice), force_add=True)
    for section in (*tables, *(g for g in GROUPS if g in composed)):
        if not isinstance(_select(composed, section, {}), Mapping):
            raise BadInput(f"{section}: takes options, not the value {_select(composed, section, None)!r}{origin.of(section)}.")
    try:
        merged = OmegaConf.merge(schema, composed)
        values = OmegaConf.to_container(merged, resolve=True, throw_on_missing=False, enum_to_str=True)
    except ConfigKeyError as error:
        raise unknown_option(str(error.full_key), tables, chosen, origin) from error
    except ValidationError as error:
        raise _wrong_type(error, tables, origin) from error
    except InterpolationResolutionError as error:
        raise BadInput(f"{error.full_key}: {_first_line(error)}{origin.of(str(error.full_key))}.") from error
    except OmegaConfBaseException as error:
        raise BadInput(f"{_first_line(error)}") from error
    assert isinstance(values, dict)
    result: dict[str, Any] = {str(key): value for key, value in values.items()}
    for section, rows in tables.items():
        _check_values(section, rows, _select(result, section, {}), origin)
    return result


def as_dataclass(cls: type, values: Mapping[str, Any]) -> Any:
    """An options object of the core from checked values."""
    return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})


def missing_options(rows: Iterable[OptionRow], values: Mapping[str, Any]) -> list[str]:
    """Names of mandatory options that were not given."""
    return [row.name for row in rows if row.required and values.get(row.name) in (None, "???")]


def unknown_option(key: str, tables: Mapping[str, Sequence[OptionRow]], chosen: Sequence[Chosen], origin: Origin) -> BadInput:
    """What to say of an option that nobody has."""
    section, _, name = key.rpartition(".")
    while section and section not in tables:
        section, _, rest = section.rpartition(".")
        name = f"{rest}.{name}"
    near = [f"{section}.{other}" for other in near_misses(name, [row.name for row in tables.get(section, ())])]
    near = near or [f"{other}.{name}" for other, rows in tables.items() if any(row.name == name for row in rows)]
    choice = next((c for c in chosen if c.section == section), None)
    see = f"tpb {choice.group}={choice.name} --help" if choice else "tpb load=static --help"
    whose = f"{choice.group} {choice.name!r}" if choice else section
    return BadInput(
        f"{key}: {whose} has no option {name!r}{origin.of(key)}.",
        f"Did you mean {' or '.join(near)}?" if near else f"See its options:  {see}",
    )


def _check_sections(composed: Mapping[str, Any], origin: Origin) -> None:
    permitted = (*GROUPS, *CORE_SECTIONS)
    for key in composed:
        if key not in permitted:
            near = near_misses(key, permitted)
            raise BadInput(
                f"{key!r} is neither a group nor an option{origin.of(key)}.",
                f"Did you mean {' or '.join(near)}?" if near else f"Groups and options: {', '.join(permitted)}",
            )


def _check_values(section: str, rows: Sequence[OptionRow], values: Mapping[str, Any], origin: Origin) -> None:
    missing = missing_options(rows, values)
    if missing:
        key = f"{section}.{missing[0]}"
        row = next(row for row in rows if row.name == missing[0])
        raise BadInput(f"{key} must be given: {row.help}.", f"Type:  {key}=...")
    for row in rows:
        value, key = values.get(row.name), f"{section}.{row.name}"
        if row.choices and value is not None:
            for item in value if isinstance(value, list) else [value]:
                if item not in row.choices:
                    near = near_misses(str(item), row.choices)
                    fix = f"Did you mean {key}={near[0]}?" if near else f"Permitted: {', '.join(row.choices)}"
                    raise BadInput(f"{key}={item} is not permitted{origin.of(key)}.", fix)
        if row.minimum is not None and isinstance(value, (int, float)) and value < row.minimum:
            raise BadInput(f"{key}={value} is too small{origin.of(key)}.", f"The least is {row.minimum}.")


def _wrong_type(error: ValidationError, tables: Mapping[str, Sequence[OptionRow]], origin: Origin) -> BadInput:
    key = str(error.full_key or "")
    section, _, name = key.rpartition(".")
    row = next((row for row in tables.get(section, ()) if row.name == name), None)
    if row is None:
        return BadInput(f"{key}: {_first_line(error)}{origin.of(key)}.")
    example = row.choices[0] if row.choices else row.default_text
    shown = "" if row.secret else f"={error.value}" if error.value is not None else "=null"
    fix = f"Type, for example:  {key}={example}" if not row.required else f"Type:  {key}=..."
    return BadInput(f"{key}{shown} is not of type {row.type}{origin.of(key)}.", fix)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")


def _select(values: Mapping[str, Any], section: str, otherwise: Any) -> Any:
    node: Any = values
    for part in section.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return otherwise
        node = node[part]
    return node
