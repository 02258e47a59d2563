"""A coverage study: one world, those who measure it, many seeds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tpb_sim.coverage.parts import counted, parts_of
from tpb_sim.coverage.tally import Row, Tally


def study(
    world: str, attributors: Sequence[str], seeds: range, *, basis: str = "gross", processes: int = 1, folder: Path | None = None
) -> list[Row]:
    """The rows of a coverage table: what each of `attributors` (or `others`) says of the same samples. `folder` keeps finished parts."""
    parts = parts_of(world, tuple(attributors), seeds, basis)
    merged = Tally()
    if processes <= 1:
        for part in parts:
            merged.merge(counted(part, folder))
        return merged.rows(world)
    with ProcessPoolExecutor(processes) as pool:
        for tally in pool.map(partial(counted, folder=folder), parts):
            merged.merge(tally)
    return merged.rows(world)
