"""`python -m tpb_sim.coverage`: coverage tables for worlds and attributors, as Markdown or CSV."""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tpb_core.api import TpbError
from tpb_sim.coverage.cells import CELLS
from tpb_sim.coverage.practices import OTHERS, attributor_named
from tpb_sim.coverage.study import study
from tpb_sim.coverage.tally import Row
from tpb_sim.coverage.verdict import breaches, markdown
from tpb_sim.coverage.worlds import named_world, world_names


def main(arguments: list[str] | None = None) -> int:
    """Run and print. Returns the exit code: 0, 1 where `--cells` finds a breach, 2 for unknown names."""
    asked = _parser().parse_args(arguments)
    try:
        rows = list(_rows(asked))
    except TpbError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_code
    _print(rows, asked.format, tuple(asked.coverage), cells=asked.cells)
    return int(asked.cells and any(_failed(row, tuple(asked.coverage)) for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tpb_sim.coverage", description="How often stated intervals hold the truth of simulated worlds."
    )
    parser.add_argument(
        "--world", action="append", help=f"{', '.join(world_names())}; with a cost model: poisson_middle:roofline (default: all)"
    )
    parser.add_argument("--attributor", action="append", help=f"entry-point name, or {OTHERS!r} for common practices (default: totals)")
    parser.add_argument(
        "--cells", action="store_true", help="only the cell that was stated beforehand for each world; exit code 1 on a breach"
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="every world and cost model, by the attributor that tells its phases and by common practice",
    )
    parser.add_argument("--folder", type=Path, help="keeps finished parts of 50 seeds there: a study that was stopped goes on")
    parser.add_argument("--seeds", type=int, default=200, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--basis", default="gross", choices=("gross", "net_loaded"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--format", default="markdown", choices=("markdown", "csv"))
    parser.add_argument(
        "--coverage", type=float, nargs=2, default=(0.90, 0.98), help="permitted share of 95 %% intervals that hold the truth"
    )
    return parser


def _rows(asked: argparse.Namespace) -> Iterator[Row]:
    cells = [cell for cell in CELLS if asked.world is None or cell.world in asked.world] if asked.cells else []
    if asked.cells:
        jobs = [(cell.world, [cell.attributor]) for cell in cells]
    elif asked.table:
        worlds = asked.world or list(dict.fromkeys([*world_names(), *(cell.world for cell in CELLS)]))
        jobs = [(world, [named_world(world).attributor, OTHERS]) for world in worlds]
    else:
        jobs = [(world, asked.attributor or ["totals"]) for world in asked.world or world_names()]
    for world, attributors in jobs:  # unknown names before the first hour of work
        named_world(world)
        for name in attributors:
            name == OTHERS or attributor_named(name)
    if asked.folder:
        asked.folder.mkdir(parents=True, exist_ok=True)
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    for place, (world, attributors) in enumerate(jobs):
        begin_s = time.perf_counter()
        rows = study(world, attributors, seeds, basis=asked.basis, processes=asked.processes, folder=asked.folder)
        print(f"{world}, {' and '.join(attributors)}: {asked.seeds} seeds in {time.perf_counter() - begin_s:.1f} s", file=sys.stderr)
        if not cells:
            yield from rows
            continue
        cell = cells[place]
        mine = [row for row in rows if row.method.startswith(cell.method) and row.figure == cell.figure]
        yield from mine or [row for row in rows if row.figure == "refused"] or [_silent(cell.world, cell.method, cell.figure, asked.seeds)]


def _failed(row: Row, coverage: tuple[float, float]) -> bool:
    """A breach of what was stated of the cell. How often its interval holds may be known to be off; silence and vagueness never are."""
    known = any(cell.known for cell in CELLS if cell.world == row.world)
    return bool(breaches(row, named_world(row.world), (0.0, 1.0) if known else coverage))


def _silent(world: str, method: str, figure: str, seeds: int) -> Row:
    """What stands for a cell of which nothing was said at all."""
    nothing = float("nan")
    return Row(world, method, figure, seeds, 0, 1.0, nothing, nothing, nothing, nothing, nothing, nothing)


def _print(rows: Sequence[Row], form: str, coverage: tuple[float, float], *, cells: bool) -> None:
    if form == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    else:
        print(markdown(rows, [named_world(row.world) for row in rows], coverage))
        for cell in (cell for cell in CELLS if cell.known and cells):
            print(f"Known of {cell.world}, {cell.figure}: {cell.known}.")


if __name__ == "__main__":
    sys.exit(main())
