"""The plugins of the checkout, from their pyproject.toml: nothing needs to be installed, and what is installed elsewhere does not count."""

from __future__ import annotations

import importlib
import sys
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Plugin:
    """One entry point of one distribution under plugins/."""

    group: str
    name: str
    value: str
    distribution: str
    about: str

    def load(self) -> Any:
        """The object behind it. Importing it needs no driver and no engine: plugins are light by contract."""
        module, _, attribute = self.value.partition(":")
        loaded = importlib.import_module(module)
        return getattr(loaded, attribute) if attribute else loaded


class Checkout:
    """plugins/ of a clone. `broken` are plugins that could not be imported, with the error; they are left out and told by the caller."""

    def __init__(self, root: Path) -> None:
        self.broken: dict[str, str] = {}
        self.folders = sorted(path.parent for path in (root / "plugins").glob("*/pyproject.toml"))
        self.default_requirements = (root / "requirements.txt").read_text().split("\n")
        for folder in self.folders:
            sys.path.insert(0, str(folder / "src"))

    def projects(self) -> list[dict[str, Any]]:
        """The table `project` of each pyproject.toml."""
        return [tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in self.folders]

    @cached_property
    def plugins(self) -> list[Plugin]:
        """All of them, by group and name."""
        found = []
        for project in self.projects():
            for group, rows in project.get("entry-points", {}).items():
                found += [Plugin(group, name, value, project["name"], project.get("description", "")) for name, value in rows.items()]
        return sorted(found, key=lambda plugin: (plugin.group, plugin.name, plugin.distribution))

    def of(self, group: str) -> list[tuple[Plugin, Any]]:
        """Those of an entry-point group, with the objects behind them."""
        found = []
        for plugin in self.plugins:
            if plugin.group == group:
                try:
                    found.append((plugin, plugin.load()))
                except (ImportError, AttributeError, SyntaxError) as error:
                    self.broken[f"{plugin.distribution}: {plugin.name}"] = f"{type(error).__name__}: {error}"
        return found
