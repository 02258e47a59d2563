"""The config groups: what is chosen by name, from which entry-point group, and where it lands in the composed configuration."""

from __future__ import annotations

from typing import NamedTuple

LOAD_NAMES = ("closed", "constant", "gamma", "offline", "poisson", "ramp", "static", "trace")
"""The load shapes, for commands that must not load their dataclasses."""
AUTO = "auto"
"""The choice `meter=auto`: every installed meter."""


class Group(NamedTuple):
    """One config group. `several`: a list of names may be chosen, and each lands in a package of its own (`meter.rapl`)."""

    name: str
    entry_points: str | None
    several: bool = False


GROUPS = {
    group.name: group
    for group in (
        Group("engine", "tpb.engines"),
        Group("meter", "tpb.meters", several=True),
        Group("prompts", "tpb.prompts"),
        Group("load", None),
        Group("attributor", "tpb.attributors", several=True),
        Group("experiment", None),
    )
}
"""The groups in the defaults list of conf/tpb.yaml. Presets may bring further ones."""

CORE_SECTIONS = ("run", "sampling", "slo", "out")
"""Options of the core that are not chosen by name."""
