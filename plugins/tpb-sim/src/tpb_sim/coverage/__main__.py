"""`python -m tpb_sim.coverage`: coverage tables for worlds and attributors, as Markdown or CSV."""

from __future__ import annotations

import argparse
import csv
import sys
import time

from tpb_core.api import TpbError
from tpb_sim.coverage.study import OTHERS, study
from tpb_sim.coverage.tally import Row
from tpb_sim.coverage.verdict import markdown
from tpb_sim.coverage.worlds import named_world, world_names


def main(arguments: list[str] | None = None) -> int:
    """Run and print. Returns the exit code: 2 for unknown names."""
    parser = argparse.ArgumentParser(
        prog="python -m tpb_sim.coverage", description="How often stated intervals hold the truth of simulated worlds."
    )
    parser.add_argument(
        "--world", action="append", help=f"{', '.join(world_names())}; with a cost model: poisson_middle:roofline (default: all)"
    )
    parser.add_argument("--attributor", action="append", help=f"entry-point name, or {OTHERS!r} for common practices (default: totals)")
    parser.add_argument("--seeds", type=int, default=200, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--basis", default="gross", choices=("gross", "net_loaded"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--format", default="markdown", choices=("markdown", "csv"))
    parser.add_argument(
        "--coverage", type=float, nargs=2, default=(0.90, 0.98), help="permitted share of 95 %% intervals that hold the truth"
    )
    asked = parser.parse_args(arguments)
    names = asked.world or world_names()
    try:
        worlds = [named_world(name) for name in names]
        rows: list[Row] = []
        for name in names:
            for attributor in asked.attributor or ["totals"]:
                begin_s = time.perf_counter()
                seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
                rows += study(name, attributor, seeds, basis=asked.basis, processes=asked.processes)
                print(f"{name}, {attributor}: {asked.seeds} seeds in {time.perf_counter() - begin_s:.1f} s", file=sys.stderr)
    except TpbError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_code
    if asked.format == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    else:
        print(markdown(rows, worlds, tuple(asked.coverage)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
