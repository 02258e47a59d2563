"""Config groups, the core's own options, load shapes and presets; and the table that one config dataclass becomes."""

from __future__ import annotations

from pathlib import Path

from generator.markdown import code, first_sentence, table
from tpb_core.config.groups import GROUPS
from tpb_core.config.options import OptionRow, option_table
from tpb_core.config.schema import LOADS, OutOptions, RunOptions, SamplingOptions

_CORE = (
    ("run", "What belongs to every run", RunOptions),
    ("sampling", "How output tokens are chosen", SamplingOptions),
    ("out", "Where results go", OutOptions),
)


def option_lines(section: str, config_class: type) -> list[str]:
    """The options of one config dataclass as they are typed."""
    rows = [(code(f"{section}.{row.name}"), code(row.type), _default(row), row.unit, _help(row)) for row in option_table(config_class)]
    return table(("option", "type", "default", "unit", "meaning"), rows)


def page(conf: Path) -> str:
    """Everything that can be chosen or set without a plugin."""
    lines = [
        "# Config groups and options",
        "",
        "A group is chosen by name (`engine=llamacpp`, `+engine=llamacpp`: both spellings always work), an option is set by its path"
        " (`load.batch_size=8`). `tpb GROUP=NAME --help` prints the options of a choice, `tpb ... --dry-run` what would be run.",
        "",
        "## Groups",
        "",
        *table(("group", "choices come from", "several at once", "default"), _groups(conf)),
        "Options of plugins: [engines](engines.md), [meters](meters.md), [prompts](prompts.md), [attributors](attributors.md).",
        "",
    ]
    for section, title, config_class in _CORE:
        lines += [f"## `{section}`: {title.lower()}", "", *option_lines(section, config_class)]
    lines += ["## Load shapes", "", "`load=NAME`. Load shapes belong to the core: they are what makes engines comparable.", ""]
    for name, load_class in LOADS.items():
        lines += [f"### `load={name}`", "", first_sentence(load_class.__doc__), "", *option_lines("load", load_class)]
    return "\n".join([*lines, *_presets(conf)])


def _groups(conf: Path) -> list[tuple[str, ...]]:
    defaults = _defaults(conf)
    return [
        (
            code(group.name),
            f"plugins (`{group.entry_points}`) and presets"
            if group.entry_points
            else "the core and presets"
            if group.name == "load"
            else "presets",
            f"yes: `'+{group.name}=[a,b]'`" if group.several else "no",
            code(defaults.get(group.name, "")),
        )
        for group in GROUPS.values()
    ]


def _defaults(conf: Path) -> dict[str, str]:
    """The defaults list of conf/tpb.yaml, read line by line: `  - engine: llamacpp`."""
    rows = [line.strip()[2:].partition(":") for line in (conf / "tpb.yaml").read_text().splitlines() if line.strip().startswith("- ")]
    return {name: value.strip() for name, colon, value in rows if colon}


def _presets(conf: Path) -> list[str]:
    lines = [
        "## Presets of the core",
        "",
        "A preset is a YAML file in `conf/GROUP/`; plugins bring further ones (entry-point group `tpb.conf`).",
        "",
    ]
    for path in sorted(conf.glob("*/*.yaml")):
        lines += [f"### `{path.parent.name}={path.stem}`", "", "```yaml", *path.read_text().strip().splitlines(), "```", ""]
    return lines


def _default(row: OptionRow) -> str:
    return "must be given" if row.required else code(row.default_text)


def _help(row: OptionRow) -> str:
    permitted = f" ({', '.join(code(choice) for choice in row.choices)})" if row.choices else ""
    least = f" At least {row.minimum:g}." if row.minimum is not None else ""
    return (
        f"{row.help}{permitted}{'.' if least and not row.help.endswith('.') else ''}{least}{' Secret: never stored.' if row.secret else ''}"
    )
