"""`tpb +engine=llamacpp --help`: the options of whatever is chosen, from the config dataclasses. Hydra is not needed for it."""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core import drivers
from tpb_core.api.errors import BadInput
from tpb_core.cli.text_table import text_table
from tpb_core.config.chosen import choose, choose_engine, choose_load
from tpb_core.config.folders import preset_file, presets
from tpb_core.config.groups import AUTO, GROUPS
from tpb_core.config.interpreter import named
from tpb_core.config.options import OptionRow, option_table
from tpb_core.config.schema import OutOptions, RunOptions, SamplingOptions, SloOptions
from tpb_core.config.words import read_word

_HEADER = ("option", "type", "default", "unit", "help")


def print_option_help(words: Sequence[str]) -> None:
    """Tables of the chosen plugins, then of the core's own options."""
    read = [read_word(text) for text in words]
    python = next((word.value for word in read if word.key == "engine.python"), None)
    for word in read:
        for name in word.names:
            _print_choice(word.key, name, python)
    print_table("run", "Options of every run", RunOptions)
    print_table("sampling", "How output tokens are chosen", SamplingOptions)
    print_table("slo", "When a request is good", SloOptions)
    print_table("out", "Where results go", OutOptions)


def section_of(entry_points: str, name: str) -> str:
    """Where the options of a plugin stand in the configuration: `engine`, `meter.rapl`."""
    group = next(group for group in GROUPS.values() if group.entry_points == entry_points)
    return f"{group.name}.{name}" if group.several else group.name


def print_table(section: str, title: str, config_class: type) -> None:
    """One config dataclass."""
    rows = [(f"{section}.{row.name}", row.type, row.default_text, row.unit, _help(row)) for row in option_table(config_class)]
    print(title)
    print(text_table(rows, _HEADER, indent="  ") if rows else "  no options")
    print()


def _print_choice(group: str, name: str, python: str | None) -> None:
    entry_points = GROUPS[group].entry_points
    file = preset_file(group, name)
    if file is not None:
        print(f"{group}={name}: a preset, {file}\n")
        print("".join(f"    {line}\n" for line in file.read_text().splitlines()))
    elif name == AUTO:
        print(f"{group}={AUTO}: every installed one that works here ({', '.join(drivers.names(entry_points or '')) or 'none'})\n")
    elif group == "engine":
        engine = choose_engine(name, named(python, name))
        print_table("engine", f"engine {name} ({engine.distribution})", engine.config_class)
    elif group == "load":
        print_table(
            "load", f"load {name}: {(choose_load(name).config_class.__doc__ or '').splitlines()[0]}", choose_load(name).config_class
        )
    elif entry_points is not None:
        section = section_of(entry_points, name)
        chosen = choose(group, entry_points, name, section)
        print_table(section, f"{drivers.NOUNS[entry_points]} {name} ({chosen.distribution})", chosen.config_class)
    else:
        raise BadInput(f"{group} {name!r} is not known.", notes=[f"There is: {', '.join(presets(group)) or 'none'}"])


def _help(row: OptionRow) -> str:
    permitted = f" ({', '.join(row.choices)})" if row.choices else ""
    return f"{row.help}{permitted}{' [secret: never stored]' if row.secret else ''}"
