"""A comparison printed: the table of ratios, how the intervals came about, what was left out, and what else differed."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tpb_core.api.codes import Reason
from tpb_core.report.comparison.comparison import Comparison
from tpb_core.report.comparison.lines import Line
from tpb_core.report.comparison.ratio import BETWEEN_RUNS, ONE_RUN, Spread
from tpb_core.report.rounding import MISSING, significant, with_interval

_MOST_DIFFERENCES = 60


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print it. Names from bundles are printed as plain text, never as markup."""
    console.print(Text(f"A  {_side(comparison.base, len(comparison.base_runs))}"))
    console.print(Text(f"B  {_side(comparison.other, len(comparison.other_runs))}"))
    console.print()
    console.print(_ratios(comparison))
    console.print()
    for remark in remarks(comparison):
        console.print(Text(remark))
    if comparison.differences:
        console.print()
        console.print(Text("What else differed", style="bold"))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("", "A", "B"):
            table.add_column(name, overflow="fold")
        for row in comparison.differences[:_MOST_DIFFERENCES]:
            table.add_row(Text(row.what), Text(row.base), Text(row.other))
        console.print(table)
        if (more := len(comparison.differences) - _MOST_DIFFERENCES) > 0:
            console.print(Text(f"and {more} more facts, most of them versions of packages"))


def _side(label: str, runs: int) -> str:
    return f"{label}  ({runs} run{'' if runs == 1 else 's'})"


def _ratios(comparison: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for name in ("A", "B", "B/A"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("95 % within rig", "95 % total"):
        table.add_column(name, no_wrap=True)
    table.add_column("B is")
    for line in comparison.lines:
        value, within, total = _texts(line)
        unit = f" ({line.unit})" if line.unit not in ("J", "1/s") else ""
        cells = [f"{line.title}{unit}", _short(line.base), _short(line.other), value, within, total, comparison.verdict(line)]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _texts(line: Line) -> tuple[str, str, str]:
    ratio = line.ratio
    if ratio.value is None:
        return MISSING, MISSING, MISSING
    value, _ = _rounded(ratio.value, ratio.within or ratio.total)
    within = _rounded(ratio.value, ratio.within)[1] if ratio.within else _missing(ratio.within_reason)
    total = _rounded(ratio.value, ratio.total)[1] if ratio.total else _missing(ratio.total_reason)
    return value, within, total


def _rounded(value: float, spread: Spread | None) -> tuple[str, str]:
    if spread is None:
        return significant(value, 3), MISSING
    if not spread.high > spread.low:
        return significant(value, 4), "no error known"
    return with_interval(value, spread.low, spread.high)


def _missing(reason: str | None) -> str:
    return "one run a side" if reason == ONE_RUN else f"{MISSING} {reason or ''}".strip()


def _short(value: float | None) -> str:
    return MISSING if value is None else significant(value, 4)


def remarks(comparison: Comparison) -> Iterator[str]:
    """How the figures came about, and why an interval is as wide as it is, or missing."""
    for name, records in (("A", comparison.base_runs), ("B", comparison.other_runs)):
        points = {(record.run["point"], record.run["arm"]) for record in records}
        if len(points) > 1:
            yield (
                f"{name} holds {len(points)} configurations, not repeats of one: its figures are geometric means over all, and their "
                "differences are in the intervals. Narrow it with a condition: \"study_id = '...' and load_size = 8\"."
            )
    first = comparison.lines[0].ratio
    if comparison.paired:
        yield f"{len(comparison.base_runs)} pairs of repeats made side by side: Student's t on the logarithms of their ratios."
    elif first.kind == BETWEEN_RUNS:
        yield "Independent repeats: Student's t on the logarithms of each group (Welch)."
    else:
        yield "One run on a side: intervals come from its own budget, and how much runs differ from each other is not in them."
    if comparison.subtracted:
        yield (
            f"{comparison.subtracted} runs with one output token serve the difference only: they are in the phases by differencing, whose "
            "intervals are between pairs, and in no other line."
        )
    yield from comparison.unusable
    if comparison.same_sensors:
        yield "Both sides were measured by the same sensors: their gain cancels; of their offsets stays what is not the same share of both."
    else:
        yield "The sensors are not the same: their gain and offset errors do not cancel. Only the total interval holds between rigs."
    if comparison.uncalibrated:
        yield (
            f"Nothing is known of the errors of {', '.join(comparison.uncalibrated)} ({Reason.NO_CALIBRATION_DATA}), so there is no total "
            "interval. State gain_u_rel and offset_u_w of the channel, or calibrate it against a reference meter."
        )
    yield from _largest(comparison)
    for run_id, reason in comparison.tolerated:
        yield f"Taken in because you asked: {run_id}: {reason}"
    for run_id, reason in comparison.left_out:
        yield f"Left out: {run_id}: {reason}"


def _largest(comparison: Comparison) -> Iterator[str]:
    """What the total interval of J per output token is made of, where calibration makes up most of it."""
    ratio = comparison.lines[0].ratio
    if ratio.total is None or not ratio.contributions or ratio.total.u_log == 0:
        return
    ranked = sorted(ratio.contributions.items(), key=lambda item: -abs(item[1]))[:4]
    shown = [f"{term} of {source} {abs(du) * 100:.2g} %" for (term, source), du in ranked if (du / ratio.total.u_log) ** 2 > 0.01]
    if shown:
        yield f"Largest shared and calibration errors left in the total (1 s.d.): {'; '.join(shown)}."
