"""A coverage study: one world, one attributor, many seeds."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tpb_core.api import Attributor, AttributorConfig, BadInput, PreconditionFailed
from tpb_sim.coverage.estimates import NULL, Estimate, of_ledger, of_practice
from tpb_sim.coverage.others import PRACTICES
from tpb_sim.coverage.tally import Row, Tally
from tpb_sim.coverage.worlds import named_world
from tpb_sim.memory_run import SimRun
from tpb_sim.simulation import simulate
from tpb_sim.truth import Truth

OTHERS = "others"
"""In place of an attributor's name: the common practices."""


def installed_attributor(name: str, options: dict[str, Any] | None = None) -> Attributor[AttributorConfig]:
    """The attributor of an installed distribution, by the name of its entry point. Raises `BadInput` where there is none."""
    points = importlib.metadata.entry_points(group="tpb.attributors")
    if name not in points.names:
        raise BadInput(f"there is no attributor {name!r} in this environment", f"Installed: {', '.join(sorted(points.names)) or 'none'}.")
    plugin = points[name].load()
    built: Attributor[AttributorConfig] = plugin(plugin.config_class(**(options or {})))
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


def tally(world: str, attributor: str, seeds: Iterable[int], basis: str = "gross", options: dict[str, Any] | None = None) -> Tally:
    """Run a named world once for each seed and count, in this process."""
    spec, counted = named_world(world).spec, Tally()
    plugin = None if attributor == OTHERS else installed_attributor(attributor, options)
    for seed in seeds:
        run = simulate(spec, seed)
        counted.add(estimates_of(run, run.truth(), plugin, basis))
    return counted


def study(
    world: str, attributor: str, seeds: range, *, basis: str = "gross", options: dict[str, Any] | None = None, processes: int = 1
) -> list[Row]:
    """The rows of a coverage table. With several processes each takes every n-th seed."""
    if processes <= 1:
        return tally(world, attributor, seeds, basis, options).rows(world)
    merged = Tally()
    with ProcessPoolExecutor(processes) as pool:
        parts = [seeds[place::processes] for place in range(processes)]
        for part in pool.map(tally, *zip(*((world, attributor, seeds_of, basis, options) for seeds_of in parts), strict=True)):
            merged.merge(part)
    return merged.rows(world)
