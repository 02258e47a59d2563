"""`tpb +engine=llamacpp --help`: the options of whatever is chosen, from the config dataclasses. Hydra is not needed for it."""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core import drivers
from tpb_core.cli.text_table import text_table
from tpb_core.config.chosen import choose, choose_engine, choose_load
from tpb_core.config.folders import preset_file, presets
from tpb_core.config.groups import AUTO, GROUPS
from tpb_core.config.options import OptionRow, option_table
from tpb_core.config.schema import LOADS, OutOptions, RunOptions, SamplingOptions
from tpb_core.config.words import read_word

_HEADER = ("option", "type", "default", "unit", "help")


def print_option_help(words: Sequence[str]) -> None:
    """Tables of the chosen plugins, then of the core's own options."""
    read = [read_word(text) for text in words]
    python = next((word.value for word in read if word.key == "engine.python"), None)
    for word in read:
        for name in word.names:
            _print_choice(word.key, name, python)
    _print_table("run", "Options of every run", option_table(RunOptions))
    _print_table("sampling", "How output tokens are chosen", option_table(SamplingOptions))
    _print_table("out", "Where results go", option_table(OutOptions))


def _print_choice(group: str, name: str, python: str | None) -> None:
    entry_points = GROUPS[group].entry_points
    file = preset_file(group, name)
    if file is not None:
        print(f"{group}={name}: a preset, {file}\n")
        print("".join(f"    {line}\n" for line in file.read_text().splitlines()))
    elif name == AUTO:
        print(f"{group}={AUTO}: every installed one that works here ({', '.join(drivers.names(entry_points or '')) or 'none'})\n")
    elif group == "engine":
        chosen = choose_engine(name, python)
        _print_table("engine", f"engine {name} ({chosen.distribution})", option_table(chosen.config_class))
    elif group == "load":
        chosen = choose_load(name)
        _print_table("load", f"load {name}: {(LOADS[name].__doc__ or '').splitlines()[0]}", option_table(chosen.config_class))
    elif entry_points is not None:
        section = f"{group}.{name}" if GROUPS[group].several else group
        chosen = choose(group, entry_points, name, section)
        _print_table(section, f"{drivers.NOUNS[entry_points]} {name} ({chosen.distribution})", option_table(chosen.config_class))
    else:
        print(f"{group}={name} is not known. There is: {', '.join(presets(group)) or 'none'}\n")


def _print_table(section: str, title: str, rows: Sequence[OptionRow]) -> None:
    lines = [(f"{section}.{row.name}", row.type, row.default_text, row.unit, _help(row)) for row in rows]
    print(title)
    print(text_table(lines, _HEADER, indent="  ") if lines else "  no options")
    print()


def _help(row: OptionRow) -> str:
    permitted = f" ({', '.join(row.choices)})" if row.choices else ""
    return f"{row.help}{permitted}{' [secret: never stored]' if row.secret else ''}"
