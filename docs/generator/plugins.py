"""One page for each kind of plugin: what there is, what it can do, and its options."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from generator.discovery import Checkout, Plugin
from generator.markdown import code, first_sentence, table
from generator.options import option_lines
from tpb_core.config.groups import GROUPS
from tpb_core.drivers import NOUNS

_PAGES = {
    "tpb.engines": ("engines.md", "Engines", "`engine=NAME` (one a run). How to write one: [how-to](../how-to/write-a-plugin.md)."),
    "tpb.meters": (
        "meters.md",
        "Meters",
        "`meter=NAME`, `'meter=[a,b]'`, or `meter=auto` (the default): every installed one that works here. `tpb doctor` says which do.",
    ),
    "tpb.prompts": ("prompts.md", "Prompt sources", "`prompts=NAME` (one a run)."),
    "tpb.attributors": (
        "attributors.md",
        "Attributors",
        "`attributor=auto` takes what its [preset](options.md#presets-of-the-core) names; `tpb attribute BUNDLE --with NAME` applies one"
        " later. What each computes: [figures](../explanation/figures.md).",
    ),
}


def pages(checkout: Checkout) -> dict[str, str]:
    """File name -> page."""
    made = {name: _page(checkout, group, title, about) for group, (name, title, about) in _PAGES.items()}
    return {**made, "plugins.md": _distributions(checkout)}


def _distributions(checkout: Checkout) -> str:
    """All distributions under plugins/ with what each brings."""
    rows = []
    for project in checkout.projects():
        name = project["name"]
        brings = [
            f"{NOUNS[group]} `{plugin}`" for group, plugins in sorted(project.get("entry-points", {}).items()) for plugin in sorted(plugins)
        ]
        star = "*" if f"-e plugins/{name}" in checkout.default_requirements else ""
        rows.append((f"[`{name}`](../../plugins/{name}/README.md){star}", project.get("description", ""), ", ".join(brings)))
    return "\n".join(
        [
            "# Plugins of this repository",
            "",
            "`pip install -e plugins/NAME` adds one; `requirements.txt` installs those with a star. An engine can also be installed into an"
            " environment of its own: [how](../how-to/other-interpreter.md).",
            "",
            *table(("distribution", "what", "brings"), rows),
        ]
    )


def _page(checkout: Checkout, group: str, title: str, about: str) -> str:
    plugins = checkout.of(group)
    rows = [(f"[`{plugin.name}`](#{plugin.name})", code(plugin.distribution), first_sentence(loaded.__doc__)) for plugin, loaded in plugins]
    lines = [f"# {title}", "", about, "", *table(("name", "distribution", "what"), rows)]
    for plugin, loaded in plugins:
        lines += _section(plugin, loaded)
    return "\n".join(lines)


def _section(plugin: Plugin, loaded: Any) -> list[str]:
    folder = f"../../plugins/{plugin.distribution}/README.md"
    lines = [f"## {plugin.name}", "", first_sentence(loaded.__doc__) + f" More: [{plugin.distribution}]({folder}).", ""]
    lines += table(("", ""), _abilities(loaded))
    group = next(group for group in GROUPS.values() if group.entry_points == plugin.group)
    section = f"{group.name}.{plugin.name}" if group.several else group.name
    return [*lines, *(option_lines(section, loaded.config_class) or ["No options.", ""])]


def _abilities(loaded: Any) -> list[tuple[str, str]]:
    """What an engine's capabilities, a meter's class or an attributor's scope say."""
    rows = [("interface", loaded.interface_version)]
    if hasattr(loaded, "capabilities"):
        values = {field.name: getattr(loaded.capabilities, field.name) for field in dataclasses.fields(loaded.capabilities)}
        rows.append(("can", ", ".join(code(name) for name, value in values.items() if value is True)))
        rows.append(("cannot", ", ".join(code(n) for n, value in values.items() if value is False and n != "virtual_time") or "-"))
        rows.append(("sampling beside greedy", ", ".join(code(name) for name in sorted(values["sampling"])) or "none"))
    elif hasattr(loaded, "virtual_time"):
        rows.append(("time", "simulated" if loaded.virtual_time else "real"))
        rows.append(("sets power limits and clocks", "yes" if inspect.isfunction(getattr(loaded, "set_power_limit", None)) else "no"))
    elif hasattr(loaded, "scope"):
        rows.append(("takes", "all bundles of a study" if loaded.scope == "study" else "one bundle"))
    return rows
