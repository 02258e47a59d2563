"""Plugins as Hydra sees them: a config source that knows every installed plugin by name and imports none.

The config of a plugin is only its name; types and defaults join afterwards, from the dataclass of exactly the chosen plugin
(`typed.py`). So a plugin's author writes one dataclass and one entry point, and no YAML.
"""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from tpb_core import drivers
from tpb_core.config.folders import plugin_folders
from tpb_core.config.groups import AUTO, GROUPS
from tpb_core.config.schema import LOADS

AUTO_MARK = "_auto_"
"""Key that `meter=auto` leaves in the group's section; taken out again by `compose`."""


class PluginSource(ConfigSource):
    """`tpb-plugins://`: the groups of `groups.GROUPS`, filled from entry points."""

    @staticmethod
    def scheme() -> str:
        """Of the search path entry."""
        return "tpb-plugins"

    def available(self) -> bool:
        """Always."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Whether it is one of our groups."""
        return config_path == "" or config_path in GROUPS

    def is_config(self, config_path: str) -> bool:
        """Whether a plugin (or load shape) of that name is installed. An engine may be installed in another interpreter."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return name in choices(group) or (group == "engine" and name != "")

    def load_config(self, config_path: str) -> ConfigResult:
        """The name alone; for `meter/auto`, the list of all meters."""
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        if not self.is_config(config_path):
            raise ConfigLoadError(f"no {group} {name}")
        package = None
        if (group, name) == ("meter", AUTO):
            config = OmegaConf.create({"defaults": drivers.names("tpb.meters"), AUTO_MARK: True})
        else:
            config = OmegaConf.create({"name": name})
            package = f"{group}.{name}" if GROUPS[group].several else None
        return ConfigResult(config=config, path=f"{self.scheme()}://{config_path}", provider="tpb", header={"package": package})

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Names in a group, for Hydra's messages and globs."""
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else sorted(GROUPS)
        return [] if results_filter == ObjectType.GROUP else choices(config_path)


class TpbSearchPath(SearchPathPlugin):
    """Adds the plugins and their presets after the core's own folder."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra when it starts."""
        for folder in plugin_folders():
            search_path.append("tpb.conf", f"file://{folder}")
        search_path.append("tpb", f"{PluginSource.scheme()}://")


def choices(group: str) -> list[str]:
    """What can be chosen in a group, presets left out."""
    if group == "load":
        return sorted(LOADS)
    found = GROUPS.get(group)
    if found is None or found.entry_points is None:
        return []
    return [*([AUTO] if group == "meter" else []), *drivers.names(found.entry_points)]


def register() -> None:
    """Make Hydra know both. In code, because Hydra's own plugin namespace does not work with editable installs."""
    Plugins.instance().register(PluginSource)
    Plugins.instance().register(TpbSearchPath)
