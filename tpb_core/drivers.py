"""Plugins: which are installed, and load exactly one by name. The only file that knows stevedore.

Lists come from the metadata of installed distributions and import nothing. stevedore is handed the one entry point that was chosen:
its managers import whatever they match, its entry points do not know their distribution, and its cache on disk can be stale.
Runs in engine environments too: standard library and stevedore only, and stevedore is imported when the first plugin is loaded.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tpb_core import known
from tpb_core.api import versions
from tpb_core.api.errors import BadInput, PluginFault, Refused

NOUNS = {
    "tpb.engines": "engine",
    "tpb.meters": "meter",
    "tpb.prompts": "prompt source",
    "tpb.attributors": "attributor",
    "tpb.hooks": "hook listener",
    "tpb.conf": "preset package",
}
"""Every entry-point group of tpb and what one plugin of it is called."""

_INTERFACES = {
    "tpb.engines": ("Engine", versions.ENGINE_INTERFACE),
    "tpb.meters": ("Meter", versions.METER_INTERFACE),
    "tpb.prompts": ("PromptSource", versions.PROMPTS_INTERFACE),
    "tpb.attributors": ("Attributor", versions.ATTRIBUTOR_INTERFACE),
}


class Plugin(NamedTuple):
    """An installed plugin, by metadata alone. `value` is `package.module:attribute`."""

    name: str
    distribution: str
    version: str
    value: str
    group: str


def installed(group: str) -> list[Plugin]:
    """The plugins of an entry-point group in order of their names. Imports none of them."""
    return sorted(set(_plugins(importlib.metadata.entry_points(group=group))))


def all_installed() -> dict[str, list[Plugin]]:
    """The plugins of every group, from one look at the metadata of this environment."""
    everything = importlib.metadata.entry_points()
    return {group: sorted(set(_plugins(everything.select(group=group)))) for group in NOUNS}


def names(group: str) -> list[str]:
    """The names that can be chosen in a group."""
    return sorted({plugin.name for plugin in installed(group)})


def find(group: str, name: str) -> Plugin:
    """The installed plugin of that name. Raises BadInput with near misses and how to install it; imports nothing."""
    return _plugins([_entry_point(group, name)])[0]


def load(group: str, name: str) -> Any:
    """The class behind a name.

    Raises BadInput (not installed, or offered twice), PluginFault naming the distribution (its import fails, or it is no such plugin)
    and Refused (written against an interface version that this core does not have).
    """
    entry_point = _entry_point(group, name)
    plugin = _plugins([entry_point])[0]
    loaded = _load_with_stevedore(entry_point, plugin)
    if group in _INTERFACES:
        _check_interface(plugin, loaded)
    return loaded


def near_misses(name: str, candidates: Sequence[str]) -> list[str]:
    """Candidates that somebody who typed `name` may have meant, best first."""
    import difflib

    return difflib.get_close_matches(name, candidates, n=3, cutoff=0.6)


def _plugins(entry_points: Iterable[importlib.metadata.EntryPoint]) -> list[Plugin]:
    origins: dict[int, tuple[str, str]] = {}  # reading a distribution's metadata is dear, and its entry points share it
    plugins = []
    for entry_point in entry_points:
        distribution = entry_point.dist
        if distribution is not None and id(distribution) not in origins:
            metadata = distribution.metadata
            origins[id(distribution)] = (metadata["Name"], metadata["Version"])
        origin = origins[id(distribution)] if distribution is not None else ("unknown", "unknown")
        plugins.append(Plugin(entry_point.name, *origin, entry_point.value, entry_point.group))
    return plugins


def _entry_point(group: str, name: str) -> importlib.metadata.EntryPoint:
    named = [e for e in importlib.metadata.entry_points(group=group) if e.name == name]
    matches = dict(zip(_plugins(named), named, strict=True))
    if not matches:
        raise _not_installed(group, name)
    if len(matches) > 1:
        offered = ", ".join(f"{p.distribution} {p.version}" for p in sorted(matches))
        first = sorted(matches)[0].distribution
        what = f"{NOUNS[group]} {name!r} is offered by more than one distribution: {offered}."
        raise BadInput(what, f"Keep one, for example:  pip uninstall {first}")
    return next(iter(matches.values()))


def _not_installed(group: str, name: str) -> BadInput:
    noun = NOUNS[group]
    present = installed(group)
    distributions = known.KNOWN.get(group, {})
    if name in distributions:
        what, fix = f"{noun} {name!r} is not installed.", known.install_hint(distributions[name], {p.distribution for p in present})
    else:
        near = near_misses(name, sorted({p.name for p in present} | set(distributions)))
        what = f"{noun} {name!r} is not known."
        fix = f"Did you mean {' or '.join(near)}?" if near else "See what there is:  tpb plugins list"
    listing = ", ".join(f"{p.name} ({p.distribution} {p.version})" for p in present) or "none"
    return BadInput(what, fix, [f"Installed {noun}s: {listing}"])


def _load_with_stevedore(entry_point: importlib.metadata.EntryPoint, plugin: Plugin) -> Any:
    phase = f"importing {NOUNS[plugin.group]} {plugin.name!r}"
    try:
        from stevedore.driver import DriverManager
    except ImportError as error:
        raise Refused("stevedore, which loads plugins, is not installed in this environment.", "Type:  pip install stevedore") from error

    class OneEntryPoint(DriverManager):  # type: ignore[misc, type-arg, unused-ignore]
        """A driver manager that sees the chosen entry point and nothing else."""

        def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
            return [entry_point]

    def fail(manager: object, failed: object, error: BaseException) -> None:
        raise PluginFault(plugin.distribution, phase, error)

    try:
        manager = OneEntryPoint(plugin.group, plugin.name, on_load_failure_callback=fail)
    except AssertionError as error:  # stevedore hands these and KeyboardInterrupt through, past its callback
        raise PluginFault(plugin.distribution, phase, error) from error
    return manager.extensions[0].plugin


def _check_interface(plugin: Plugin, loaded: Any) -> None:
    from tpb_core import api

    class_name, ours = _INTERFACES[plugin.group]
    noun = NOUNS[plugin.group]
    if not (isinstance(loaded, type) and issubclass(loaded, getattr(api, class_name))):
        problem = TypeError(f"{plugin.value} is not a subclass of tpb_core.api.{class_name}")
        raise PluginFault(plugin.distribution, f"loading {noun} {plugin.name!r}", problem)
    theirs = str(getattr(loaded, "interface_version", "none"))
    try:
        fits = versions.is_compatible(theirs, ours)
    except ValueError:
        fits = False
    if not fits:
        origin = f"{plugin.distribution} {plugin.version}"
        raise Refused(
            f"{noun} {plugin.name!r} ({origin}) is written for version {theirs} of the {noun} interface; this tpb has {ours}.",
            f"Install versions of tpb-core and {plugin.distribution} that belong together.",
        )
