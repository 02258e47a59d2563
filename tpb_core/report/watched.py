"""What is said of a server that was only watched: its counters over the whole, and J per token over time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tpb_core.report.rounding import MISSING, significant, with_interval
from tpb_core.report.run_facts import Row
from tpb_core.store.bundle import Bundle
from tpb_core.store.results import results_of

_GAUGES = {"running_requests": "requests running", "waiting_requests": "requests waiting", "kv_usage": "share of the KV cache in use"}
_HEAD = ("from", "to", "output tokens", "tokens/s", "mean W", "J/token", "95 % interval", "")


def lines_of(bundle: Path) -> Iterator[str]:
    """Lines to print below the table of the run."""
    rows = [row for row in results_of(bundle) if row["scope"] == "total"]
    opened = Bundle.open(bundle)
    whole = next((row for row in rows if row["window"] == "measure"), None)
    if whole is not None:
        yield f"Server:    {_tokens(whole, 'output')}, {_tokens(whole, 'input')}"
        yield from _means(opened)
        yield "           Its requests and phases are not known one by one: no load of ours, no step log."
    slices = sorted((row for row in rows if row["window"].startswith("measure/")), key=lambda row: int(row["window"].partition("/")[2]))
    if slices:
        yield ""
        yield from _over_time(opened, slices)


def _tokens(row: Row, which: str) -> str:
    count = row[f"{which}_tokens"]
    if count is None:
        return f"{which} tokens not known"
    rate = f" ({significant(count / row['duration_s'], 3)}/s)" if row["duration_s"] else ""
    return f"{count:,} {which} tokens{rate}"


def _means(bundle: Bundle) -> Iterator[str]:
    """Means of the gauges over the window, each reading weighed alike."""
    window = next((window for window in bundle.windows if window.window == "measure"), None)
    for channel in bundle.channels:
        title = _GAUGES.get(channel.channel.rpartition("/")[2])
        if title is None or channel.kind != "gauge" or channel.meter != "server" or window is None:
            continue
        series = bundle.series(channel.channel)
        inside = series.value[(series.t_ns >= window.t0_ns) & (series.t_ns <= window.t1_ns)]
        if len(inside):
            yield f"           {title}: {float(np.mean(inside)):.3g} on average, {float(np.max(inside)):.3g} at most"


def _over_time(bundle: Bundle, rows: list[Row]) -> Iterator[str]:
    windows = {window.window: window for window in bundle.windows}
    begin_ns = windows[rows[0]["window"]].t0_ns
    cells = [_HEAD]
    for row in rows:
        window = windows[row["window"]]
        value, interval = MISSING, MISSING
        if row["j_per_output_token"] is not None:
            value, interval = with_interval(row["j_per_output_token"], row["ci_low"], row["ci_high"])
        cells.append((
            f"{(window.t0_ns - begin_ns) / 1e9:.0f} s",
            f"{(window.t1_ns - begin_ns) / 1e9:.0f} s",
            MISSING if row["output_tokens"] is None else f"{row['output_tokens']:,}",
            MISSING if row["output_tokens_per_s"] is None else significant(row["output_tokens_per_s"], 3),
            MISSING if row["mean_w"] is None else significant(row["mean_w"], 3),
            value,
            interval,
            "" if row["j_per_output_token"] is not None else f"not measured: {row['reason'] or 'no_tokens'}",
        ))  # fmt: skip
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    for line in cells:
        yield "  ".join(cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False)) + f"  {line[-1]}".rstrip()
