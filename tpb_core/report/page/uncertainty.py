"""The section of the uncertainty budget: what the intervals are made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from tpb_core.report.page import chart
from tpb_core.report.page.axis import axis_of
from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.tables import figure, legend, note, section, table
from tpb_core.report.rounding import significant
from tpb_core.report.run_facts import Row

PHASES = ("total", "prefill", "decode", "idle")
Budget = dict[tuple[str, bool], float]
"""(term, calibration) -> joules, one standard deviation."""


def uncertainty_section(page: RunPage) -> Element:
    """The terms of the whole run's energy as bars, and of its phases as a table."""
    total = page.facts.result() or {}
    methods = {phase: _method(page, phase) for phase in PHASES}
    budgets = {
        phase: budget_of([r for r in page.budget if (r["domain"], r["phase"], r["method"]) == ("total", phase, methods[phase])])
        for phase in PHASES
    }
    budgets = {phase: budget for phase, budget in budgets.items() if budget}
    if "total" not in budgets:
        reason = total.get("reason") or "not_attributed"
        return section("uncertainty", "Uncertainty", tag("p", f"No budget of the whole run's energy: {reason}."))
    terms = sorted({key for budget in budgets.values() for key in budget}, key=lambda key: (key[1], -budgets["total"].get(key, 0.0)))
    rows: list[list[str | None]] = [
        [term, "calibration" if calibration else "within rig", *(_shown(budgets[phase].get((term, calibration))) for phase in budgets)]
        for term, calibration in terms
    ]
    rows.append(["together", "within rig", *(_shown(_root(budget, calibration=False)) for budget in budgets.values())])
    calibrated = total.get("ci_total_low") is not None
    together = [_shown(_root(budget, calibration=True)) if calibrated else "no_calibration_data" for budget in budgets.values()]
    rows.append(["together", "total", *together])
    named = "; ".join(f"{phase} by {methods[phase]}" for phase in budgets)
    return section(
        "uncertainty",
        "Uncertainty",
        legend((("within", "within this rig"), ("calibration", "calibration of the sensors: cancels only between runs on one sensor"))),
        figure(_bars(budgets["total"]), "Contributions to the energy of the whole run: one standard deviation, J"),
        table(("term", "", *(f"{phase}, J" for phase in budgets)), rows, numbers=range(2, 2 + len(budgets))),
        note(f"One standard deviation. Terms of equal name and source are added with their sign, all others in quadrature. {named}."),
    )


def _method(page: RunPage, phase: str) -> str | None:
    rows = [row for row in page.energy if row["domain"] == "total" and row["phase"] == phase and row["joules"] is not None]
    chosen = min(rows, key=lambda row: (not row["method"].startswith("totals"), not row["method"].endswith("/shapley")), default=None)
    return None if chosen is None else str(chosen["method"])


def budget_of(rows: Sequence[Row]) -> Budget:
    """Standard contribution of each term: signed sums over equal sources, then the root of the squares over sources."""
    signed: dict[tuple[str, bool, str], float] = defaultdict(float)
    for row in rows:
        signed[row["term"], bool(row["calibration"]), row["source"]] += row["du_j"]
    squares: dict[tuple[str, bool], float] = defaultdict(float)
    for (term, calibration, _), du in signed.items():
        squares[term, calibration] += du**2
    return {key: math.sqrt(square) for key, square in squares.items() if square > 0}


def _root(budget: Budget, *, calibration: bool) -> float:
    return math.sqrt(math.fsum(du**2 for (_, of_calibration), du in budget.items() if calibration or not of_calibration))


def _bars(budget: Budget) -> Element:
    ranked = sorted(budget.items(), key=lambda item: -item[1])
    bottom = chart.TOP + 24.0 * len(ranked)
    x = axis_of(0.0, ranked[0][1], 170.0, chart.WIDTH - 90, from_zero=True)
    content: list[Element] = []
    for value, label in x.labels(8):
        content.append(tag("path", d=f"M{x.at(value):.6g} {chart.TOP:g}V{bottom:g}", class_="zero" if value == 0 else "grid"))
        content.append(chart.text(x.at(value), bottom + 17, label, anchor="middle", class_="soft"))
    for number, ((term, calibration), du) in enumerate(ranked):
        top = chart.TOP + 24.0 * number + 4
        content.append(chart.text(162, top + 12, term[:24], anchor="end"))
        content.append(chart.rectangle(x.begin, x.at(du), top, top + 16, "calibration" if calibration else "within", f"{term}: {du:.3g} J"))
        content.append(chart.text(x.at(du) + 8, top + 12, f"{significant(du, 2)} J", class_="soft"))
    return chart.picture(bottom + 24, *content, label="Uncertainty budget of the whole run")


def _shown(du: float | None) -> str | None:
    return None if du is None else significant(du, 2)
