"""docs/reference/coverage.md: the committed counts of a coverage study (docs/reference/coverage.csv), as tables to read."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

from generator.markdown import table

HEAD = """\
# How often the intervals hold the truth

Worlds are simulated with a known cost of every step, and with sensors as they are known to be; each seed draws new loads, new noise, and
gain and offset of every sensor from their priors. An attributor says what it says of a real run. Counted are {seeds} seeds a world
(`nox -s coverage`, {command}). A world's name is followed by its cost model where that is not the fitted one.

- *bias*, *rmse*: of the figure, relative to what the sensors as they were built would call the truth.
- *within*: how often the 95 % interval without calibration (`ci_low_j`, `ci_high_j`) holds that; *total*: how often the total interval
  holds the true energy. 93 to 97 % is what we ask of ourselves; what lies outside is marked with an asterisk.
- *width*: mean width of the interval within the rig over the truth. *NULL*: share of seeds (or requests) without a figure.
- *idle*: energy while no step runs, in worlds where that happens. In some these are milliseconds, and widths are a large share of little.

"""
OTHERS_HEAD = """\
## What common practice says on the same samples

Bias / root-mean-square error of figures without intervals. A dash: the practice has no such figure, or a sensor lacks what it needs.

"""
ASKED = (0.93, 0.97)
FIGURES = ("total", "prefill", "decode", "request")
OURS = (*FIGURES, "idle", "refused")
NAMES = {
    "counter_at_edges": "counter at window edges",
    "window_around_each_request": "a window around each request",
    "tokens_times_average": "tokens times the average",
    "mean_power_times_duration": "mean power times duration",
    "trapezoid_over_1s_averages": "trapezoid over 1 s averages",
    "grace_of_666_ms": "counter, 666 ms of grace",
}
Rows = list[dict[str, str]]


def page(counts_file: Path, command: str = "`python -m tpb_sim.coverage --table --format csv`") -> str:
    """The page, from the CSV file that the command wrote."""
    with counts_file.open(newline="") as file:
        rows: Rows = [row for row in csv.DictReader(file) if row["figure"] in OURS]
    counts = sorted({int(row["seeds"]) for row in rows})
    seeds = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    ours = [row for row in rows if row["method"] not in NAMES and not _repeated(row) and not _nothing(row)]
    others = [row for row in rows if row["method"] in NAMES]
    return "\n".join([HEAD.format(seeds=seeds, command=command), *_ours(ours), OTHERS_HEAD, *_others(others)])


def _repeated(row: dict[str, str]) -> bool:
    """Total and idle energy do not hang on the split rule."""
    return row["figure"] in ("total", "idle") and row["method"] in ("steps/incremental", "steps/token")


def _nothing(row: dict[str, str]) -> bool:
    """Idle energy of a world in which nothing is ever idle."""
    return row["figure"] == "idle" and row["bias"] in ("", "nan")


def _ours(rows: Rows) -> list[str]:
    cells = [
        (
            *(row[name] for name in ("world", "method", "figure")),
            *(_percent(row[name], digits) for name, digits in (("null_share", 1), ("bias", 2), ("rmse", 2))),
            *(_held(row[name]) for name in ("within", "total")),
            _percent(row["width"], 2),
        )
        for row in rows
    ]
    return table(("world", "method", "figure", "NULL", "bias", "rmse", "within", "total", "width"), cells)


def _others(rows: Rows) -> list[str]:
    found: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in rows:
        if row["bias"] not in ("", "nan"):
            found[row["world"], row["method"]][row["figure"]] = f"{_percent(row['bias'], 1)} / {_percent(row['rmse'], 1)}"
    cells = [(world, NAMES[method], *(told.get(figure, "–") for figure in FIGURES)) for (world, method), told in found.items()]
    return table(("world", "practice", *FIGURES), cells)


def _held(share: str) -> str:
    if share in ("", "nan"):
        return ""
    return f"{100 * float(share):.1f} %" + ("" if ASKED[0] <= float(share) <= ASKED[1] else " *")


def _percent(value: str, digits: int) -> str:
    return "" if value in ("", "nan") else f"{100 * float(value):.{digits}f} %"
