"""Whether a row of a coverage table keeps what was stated beforehand: coverage, silence and vagueness."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tpb_sim.coverage.tally import Row
from tpb_sim.coverage.worlds import NamedWorld


def breaches(row: Row, world: NamedWorld, coverage: tuple[float, float]) -> list[str]:
    """What is wrong with a row; empty where all holds, or where nothing was stated of the figure.

    `coverage` is the permitted share of 95 % intervals that hold the truth, for example (0.90, 0.98) over 200 seeds. An interval that
    never misses is a breach too, except where there is nothing to be uncertain of (a width of 0).
    """
    expected = world.expected.get(row.figure)
    if row.figure == "refused":
        return [f"{row.method} refuses the world"]
    if expected is None:
        return []
    wrong = []
    if row.null_share > expected.null_share:
        wrong.append(f"{row.null_share:.0%} NULL, at most {expected.null_share:.0%} stated")
    if not math.isnan(row.width) and row.width > expected.width:
        wrong.append(f"mean width {row.width:.1%}, at most {expected.width:.1%} stated")
    shares = {"within the rig": row.within, "total": row.total}
    for name, share in shares.items():
        if not math.isnan(share) and not coverage[0] <= share <= coverage[1]:
            wrong.append(f"the interval {name} holds the truth in {share:.1%}, not {coverage[0]:.0%} to {coverage[1]:.0%}")
    return wrong


HEADER = "| world | method | figure | n | NULL | bias | rmse | within | total | width | total width | |"


def markdown(rows: Sequence[Row], worlds: Sequence[NamedWorld], coverage: tuple[float, float]) -> str:
    """A table of rows with their breaches in the last column."""
    named = {world.name: world for world in worlds}
    lines = [HEADER, "|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        figures = [_percent(value) for value in row[5:]]
        told = "; ".join(breaches(row, named[row.world], coverage)) if row.method.partition("/")[0] else ""
        lines.append(f"| {row.world} | {row.method} | {row.figure} | {row.figures} | {' | '.join(figures)} | {told} |")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{100 * value:.2f} %"
