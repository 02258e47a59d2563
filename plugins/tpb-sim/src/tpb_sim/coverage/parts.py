"""Parts of a coverage study: some seeds of one world each, kept on disk where a folder is given, so that hours of work can be stopped."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tpb_sim.coverage.estimates import Estimate
from tpb_sim.coverage.practices import OTHERS, attributor_named, estimates_of
from tpb_sim.coverage.tally import Tally
from tpb_sim.coverage.worlds import named_world
from tpb_sim.simulation import simulate

SEEDS_A_PART = 50
CODE = ("tpb_core.api", "tpb_core.energy", "tpb_attributors", "tpb_sim")
JUDGES = ("__main__.py", "cells.py", "verdict.py")
"""What the figures come from (a part that other code has counted is counted anew), and the files there that only judge them."""


class Part(NamedTuple):
    """Seeds `first` to `last` (excluded) of a world, and who measures it: names of attributors, or `OTHERS`."""

    world: str
    attributors: tuple[str, ...]
    basis: str
    first: int
    last: int

    @property
    def file_name(self) -> str:
        """Names everything that the counts depend on."""
        who = "+".join(self.attributors)
        return f"{self.world.replace(':', '-')}.{who}.{self.basis}.{self.first}-{self.last}.{code_digest()[:12]}.json"


def parts_of(world: str, attributors: tuple[str, ...], seeds: range, basis: str) -> list[Part]:
    """Cut seeds at multiples of 50, so that a longer study finds the parts of a shorter one."""
    starts = [seeds.start, *range(seeds.start - seeds.start % SEEDS_A_PART + SEEDS_A_PART, seeds.stop, SEEDS_A_PART)]
    return [Part(world, attributors, basis, *edges) for edges in zip(starts, [*starts[1:], seeds.stop], strict=True)]


def counted(part: Part, folder: Path | None) -> Tally:
    """The tally of a part, in this process; from its file where this code has counted it before."""
    path = folder / part.file_name if folder else None
    if path is not None and path.exists():
        return Tally.from_rows(json.loads(path.read_text()))
    tally, spec = Tally(), named_world(part.world).spec
    plugins = {name: None if name == OTHERS else attributor_named(name) for name in part.attributors}
    for seed in range(part.first, part.last):
        run = simulate(spec, seed)
        truth = run.truth()

        def said() -> Iterator[Estimate]:
            for plugin in plugins.values():
                yield from estimates_of(run, truth, plugin, part.basis)  # noqa: B023

        tally.add(said())
    if path is not None:
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(json.dumps(tally.to_rows()))
        unfinished.replace(path)
    return tally


@cache
def code_digest() -> str:
    """Digest of the Python files that simulate and attribute."""
    digest = hashlib.sha256()
    for name in CODE:
        (folder,) = importlib.import_module(name).__path__
        for file in sorted(Path(folder).rglob("*.py")):
            if file.name not in JUDGES:
                digest.update(file.read_bytes())
    return digest.hexdigest()
