"""The plugins that a composed configuration chose, with their classes and the schema of their options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpb_core import drivers
from tpb_core.api.errors import BadInput, PluginFault
from tpb_core.config import interpreter
from tpb_core.config.schema import LOADS


@dataclass(frozen=True)
class Chosen:
    """One choice. `section` is its place in the configuration; `plugin_class` is None where it lives in another interpreter or the core."""

    group: str
    name: str
    section: str
    config_class: type
    plugin_class: Any = None
    distribution: str = "tpb-core"

    @property
    def virtual_time(self) -> bool:
        """Whether it belongs to a simulated world."""
        capabilities = getattr(self.plugin_class, "capabilities", self.plugin_class)
        return bool(getattr(capabilities, "virtual_time", False))


def choose(group: str, entry_points: str, name: str, section: str) -> Chosen:
    """A plugin of this interpreter. Imports it."""
    plugin = drivers.find(entry_points, name)
    plugin_class = drivers.load(entry_points, name)
    return Chosen(group, name, section, plugin_class.config_class, plugin_class, plugin.distribution)


def choose_engine(name: str, python: str | None) -> Chosen:
    """The engine, from the interpreter that will run it."""
    if interpreter.runs_here(python):
        return choose("engine", "tpb.engines", name, "engine")
    assert python is not None
    return Chosen("engine", name, "engine", interpreter.config_class_in(interpreter.find_python(python), name))


def choose_load(name: str) -> Chosen:
    """A load shape of the core."""
    if name not in LOADS:
        near = drivers.near_misses(name, list(LOADS))
        fix = f"Did you mean load={near[0]}?" if near else f"Load shapes: {', '.join(LOADS)}"
        raise BadInput(f"load {name!r} is not known.", fix)
    return Chosen("load", name, "load", LOADS[name])


def schema_of(chosen: Chosen) -> Any:
    """The typed, empty configuration of a choice. Raises PluginFault where OmegaConf cannot take the dataclass."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.structured(chosen.config_class)
    except (OmegaConfBaseException, ValueError, TypeError, NameError) as error:
        raise PluginFault(chosen.distribution, f"reading the options of {chosen.group} {chosen.name!r}", error) from error
