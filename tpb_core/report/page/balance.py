"""The section of the energy balance: where the joules of the measurement went, per domain, with what is left over shown as it is."""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core.report.page import chart
from tpb_core.report.page.axis import axis_of
from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.tables import figure, legend, note, section, table
from tpb_core.report.rounding import significant, span, with_interval
from tpb_core.report.run_facts import Row

Intervals = dict[tuple[str, str, str], tuple[float | None, float | None]]
"""(domain, phase, method) -> ends of the 95 % interval, J."""
PHASES = ("prefill", "decode", "idle", "unattributed")
_ROW, _BAR, _NAMES = 34.0, 20.0, 190.0


def balance_section(page: RunPage) -> Element:
    """Stacked bars of every domain, the rest of a node and the total; and the same as a table with intervals."""
    rows = _chosen(page.balance)
    if not rows:
        return section("balance", "Energy balance", tag("p", "No energies: not attributed yet (tpb attribute), or no window measure."))
    intervals = {(row["domain"], row["phase"], row["method"]): (row["ci_low_j"], row["ci_high_j"]) for row in page.energy}
    drawn = [row for row in rows if row["total_j"] is not None]
    key = [(phase, phase) for phase in PHASES] + [("rest", "rest of a node: the node less everything measured in it")]
    content: list[Element | None] = []
    if drawn:
        content = [
            legend(key),
            figure(_bars(drawn), "Joules of the window measure, gross. Left of zero is negative: more was attributed than metered."),
        ]
    return section(
        "balance",
        "Energy balance",
        content,
        table(
            ("domain", "scope", "total, J", "95 % interval", *(f"{phase}, J" for phase in PHASES), "evidence", "method", ""),
            [_cells(row, intervals) for row in rows],
            numbers=(2, 4, 5, 6, 7),
        ),
        _split_rules(page.balance, intervals),
        note(
            "unattributed is the meter less all phases: never charged to requests, and it may be negative. Where a method does not "
            "split, everything is unattributed. Phases are not rescaled to fit."
        ),
    )


def _split_rules(balance: Sequence[Row], intervals: Intervals) -> Element | None:
    """Figures of the whole run by each rule of splitting mixed steps: their span is an allocation range, no uncertainty."""
    rows = [row for row in balance if row["domain"] == "total" and row["prefill_j"] is not None and row["decode_j"] is not None]
    methods = sorted({row["method"] for row in rows})
    if len({method.partition("/")[0] for method in methods}) == len(methods):
        return None
    cells = []
    for row in sorted(rows, key=lambda row: row["method"]):
        known = [(row[f"{phase}_j"], intervals.get(("total", phase, row["method"]), (None, None))) for phase in PHASES[:2]]
        cells.append([row["method"], *(with_interval(joules, *ends)[0] for joules, ends in known)])
    spans = [f"{phase} {significant(low, 4)} to {significant(high, 4)} J" for phase in PHASES[:2] for low, high in [_span(rows, phase)]]
    return tag(
        "div",
        table(("split rule", "prefill, J", "decode, J"), cells, numbers=(1, 2)),
        note(
            f"Rules that split mixed steps are figures of their own. Their allocation range, which is no uncertainty: {', '.join(spans)}."
        ),
    )


def _span(rows: Sequence[Row], phase: str) -> tuple[float, float]:
    values = [row[f"{phase}_j"] for row in rows]
    return min(values), max(values)


def _chosen(balance: Sequence[Row]) -> list[Row]:
    """Of each domain the method that tells most; parents before children, the rest of a node after them, `total` last."""
    best: dict[str, Row] = {}
    for row in balance:
        known = best.get(row["domain"])
        if known is None or _rank(row) < _rank(known):
            best[row["domain"]] = row
    return sorted(best.values(), key=lambda row: (row["domain"] == "total", _place(row["domain"])))


def _rank(row: Row) -> tuple[bool, int, bool, str]:
    known = sum(row[f"{phase}_j"] is not None for phase in PHASES)
    return row["total_j"] is None, -known, not row["method"].endswith("/shapley"), row["method"]


def _place(domain: str) -> str:
    return domain.removesuffix("/rest") + "/\uffff" if domain.endswith("/rest") else domain


def _bars(rows: Sequence[Row]) -> Element:
    parts = [_parts(row) for row in rows]
    reach = [(sum(min(j, 0.0) for _, j in each), sum(max(j, 0.0) for _, j in each)) for each in parts]
    bottom = chart.TOP + _ROW * len(rows)
    x = axis_of(min(low for low, _ in reach), max(high for _, high in reach), _NAMES, chart.WIDTH - 90, from_zero=True)
    content: list[Element | None] = []
    for value, label in x.labels(8):
        content.append(tag("path", d=f"M{x.at(value):.6g} {chart.TOP:g}V{bottom:g}", class_="zero" if value == 0 else "grid"))
        content.append(chart.text(x.at(value), bottom + 17, label, anchor="middle", class_="soft"))
    content.append(chart.text(chart.WIDTH - 90, bottom + 33, "J", anchor="end", class_="soft"))
    for number, (row, each) in enumerate(zip(rows, parts, strict=True)):
        top = chart.TOP + number * _ROW + (_ROW - _BAR) / 2
        left, right = 0.0, 0.0
        indent = 8.0 * row["domain"].count("/")
        content.append(chart.text(4 + indent, top + 14, _short(row["domain"], 26), class_="strong" if row["domain"] == "total" else None))
        for phase, joules in each:
            begin = right if joules >= 0 else left
            kind = "rest" if row["domain"].endswith("/rest") else phase
            content.append(
                chart.rectangle(x.at(begin), x.at(begin + joules), top, top + _BAR, kind, f"{row['domain']}, {phase}: {joules:.6g} J")
            )
            left, right = (left, right + joules) if joules >= 0 else (left + joules, right)
        if row["ci_low_j"] is not None and right > left:
            ends = [x.at(min(max(row[key], x.low), x.high)) for key in ("ci_low_j", "ci_high_j")]
            middle = top + _BAR / 2
            content.append(
                tag(
                    "path",
                    d=f"M{ends[0]:.6g} {middle:g}H{ends[1]:.6g}M{ends[0]:.6g} {middle - 4:g}v8M{ends[1]:.6g} {middle - 4:g}v8",
                    class_="error",
                )
            )
        content.append(chart.text(x.at(max(right, 0.0)) + 8, top + 14, f"{significant(row['total_j'], 4)} J"))
    return chart.picture(bottom + 40, *content, label="Energy of each domain by phase")


def _parts(row: Row) -> list[tuple[str, float]]:
    """The phases that have a figure; the whole as unattributed where none has."""
    parts = [(phase, float(row[f"{phase}_j"])) for phase in PHASES if row[f"{phase}_j"] is not None]
    return parts or [("unattributed", float(row["total_j"]))]


def _cells(row: Row, intervals: Intervals) -> list[str | None]:
    """A line of the table; every figure is rounded to its own interval."""
    total, low, high = row["total_j"], row["ci_low_j"], row["ci_high_j"]
    shown, interval = with_interval(total, low, high) if total is not None else (None, None)
    if total is None and low is not None and high is not None:
        interval = f"span {span(low, high)}"
    ends = [intervals.get((row["domain"], phase, row["method"]), (None, None)) for phase in PHASES]
    joules = [row[f"{phase}_j"] for phase in PHASES]
    phases = [None if j is None else with_interval(j, *each)[0] for j, each in zip(joules, ends, strict=True)]
    remark = str(row["reason"] or "") if row["allocated"] else "not used by the run; never in the total"
    return [row["domain"], row["scope"], shown, interval, *phases, row["evidence"], row["method"], remark]


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
