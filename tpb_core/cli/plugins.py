"""`tpb plugins list` and `tpb plugins show NAME`: what is installed, by metadata alone; and one plugin in detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tpb_core import drivers, known
from tpb_core.api.errors import EXIT_DONE, BadInput, TpbError
from tpb_core.cli.text_table import text_table

_USAGE = "Type:  tpb plugins list   or   tpb plugins show NAME"


def main(argv: list[str]) -> int:
    """Exit code 0; raises BadInput for a name that nothing has."""
    match argv:
        case [] | ["list"]:
            print_list()
        case ["-h" | "--help"]:
            print("tpb plugins list        every installed plugin, and known ones that are not installed")
            print("tpb plugins show NAME   one plugin: origin, abilities, options")
        case ["show", name]:
            print_plugin(name)
        case ["show"]:
            raise BadInput("`tpb plugins show` needs a name.", _USAGE)
        case _:
            raise BadInput(f"tpb plugins {' '.join(argv)} is not understood.", _USAGE)
    return EXIT_DONE


def print_list() -> None:
    """Every group with its plugins. Imports no plugin."""
    everything = drivers.all_installed()
    for group, present in everything.items():
        noun = drivers.NOUNS[group]
        absent = sorted(known.KNOWN.get(group, {}).keys() - {plugin.name for plugin in present})
        if not present and not absent:
            continue
        print(f"{noun}s")
        rows = [(plugin.name, f"{plugin.distribution} {plugin.version}") for plugin in present]
        rows += [(name, _absent(known.KNOWN[group][name], present)) for name in absent]
        print(text_table(rows, indent="  "))
        print()
    print("presets and load shapes")
    print(
        text_table(
            [(f"{group}=", ", ".join(names)) for group, names in _choices_without_plugins(everything["tpb.conf"]).items()], indent="  "
        )
    )


def _choices_without_plugins(packages: list[drivers.Plugin]) -> dict[str, list[str]]:
    """What can be chosen beside plugins, by group; `packages` bring presets."""
    from tpb_core.config.folders import presets_by_group
    from tpb_core.config.groups import GROUPS, LOAD_NAMES

    found = presets_by_group(packages)
    found["load"] = sorted([*found.get("load", []), *LOAD_NAMES])
    return {group: found[group] for group in (*GROUPS, *sorted(found.keys() - GROUPS.keys())) if group in found}


def print_plugin(name: str) -> None:
    """All plugins of that name, with what loading them tells."""
    groups = [group for group in drivers.NOUNS if name in drivers.names(group)]
    if not groups:
        everything = sorted({other for group in drivers.NOUNS for other in drivers.names(group)})
        elsewhere = [group for group, names in known.KNOWN.items() if name in names]
        if elsewhere:
            drivers.find(elsewhere[0], name)  # says how to install it
        near = drivers.near_misses(name, everything)
        fix = f"Did you mean {' or '.join(near)}?" if near else f"Installed: {', '.join(everything)}"
        raise BadInput(f"No plugin is called {name!r}.", fix)
    for group in groups:
        _print_one(group, name)


def _print_one(group: str, name: str) -> None:
    plugin = drivers.find(group, name)
    print(f"{drivers.NOUNS[group]} {name}")
    facts = [("distribution", f"{plugin.distribution} {plugin.version}"), ("object", plugin.value)]
    if group in ("tpb.hooks", "tpb.conf"):
        print(text_table(facts, indent="  "), end="\n\n")
        return
    try:
        loaded = drivers.load(group, name)
    except TpbError as error:
        print(text_table([*facts, ("broken", " ".join(error.lines()))], indent="  "), end="\n\n")
        return
    facts += [("interface", loaded.interface_version), ("about", (loaded.__doc__ or "").strip().split("\n", 1)[0])]
    print(text_table([*facts, *_abilities(loaded)], indent="  "), end="\n\n")
    from tpb_core.cli.option_help import print_table, section_of

    print_table(section_of(group, name), "  options", loaded.config_class)


def _abilities(loaded: Any) -> list[tuple[str, str]]:
    """What an engine can do, a meter's kind of time, an attributor's scope."""
    if hasattr(loaded, "capabilities"):
        import dataclasses

        values = {field.name: getattr(loaded.capabilities, field.name) for field in dataclasses.fields(loaded.capabilities)}
        able = [name for name, value in values.items() if value is True]
        unable = [name for name, value in values.items() if value is False and name != "virtual_time"]
        return [
            ("can", ", ".join(able)),
            ("cannot", ", ".join(unable)),
            ("sampling", ", ".join(sorted(values["sampling"])) or "greedy only"),
        ]
    if hasattr(loaded, "virtual_time"):
        return [("time", "simulated" if loaded.virtual_time else "real")]
    return [("takes", "a study" if loaded.scope == "study" else "one run")] if hasattr(loaded, "scope") else []


def _absent(distribution: str, present: Sequence[drivers.Plugin]) -> str:
    """How to get it, or that it is planned."""
    hint = known.install_hint(distribution, {plugin.distribution for plugin in present})
    return "planned" if hint.startswith(known.PLANNED) else f"not installed. {hint}"
