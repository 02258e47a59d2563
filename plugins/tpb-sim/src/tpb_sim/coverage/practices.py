"""Who measures a simulated run: an installed attributor, or the common practices."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from typing import Any

from tpb_core.api import Attributor, AttributorConfig, BadInput, PreconditionFailed
from tpb_sim.coverage.estimates import NULL, Estimate, of_ledger, of_practice
from tpb_sim.coverage.others import PRACTICES
from tpb_sim.memory_run import SimRun
from tpb_sim.truth import Truth

OTHERS = "others"
"""In place of an attributor's name: the common practices."""


def attributor_named(name: str) -> Attributor[AttributorConfig]:
    """The attributor of an installed distribution, by the name of its entry point. Raises `BadInput` where there is none."""
    points = importlib.metadata.entry_points(group="tpb.attributors")
    if name not in points.names:
        raise BadInput(f"there is no attributor {name!r} in this environment", f"Installed: {', '.join(sorted(points.names)) or 'none'}.")
    plugin: Any = points[name].load()
    built: Attributor[AttributorConfig] = plugin(plugin.config_class())
    return built


def estimates_of(run: SimRun, truth: Truth, attributor: Attributor[AttributorConfig] | None, basis: str) -> Iterator[Estimate]:
    """Everything that an attributor (None: the common practices) says of a run. A refusal is one NULL, named by its precondition."""
    if attributor is None:
        for practice, say in PRACTICES.items():
            figures, requests = say(run)
            yield from of_practice(practice, figures, requests, run, truth)
        return
    try:
        ledgers = attributor.attribute([run])
    except PreconditionFailed as refusal:
        yield Estimate(f"{attributor.config.name}: {refusal.precondition}", "refused", NULL)
        return
    for ledger in ledgers:
        yield from of_ledger(ledger, truth, basis)
