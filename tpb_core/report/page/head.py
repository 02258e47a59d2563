"""The top of the page: what was run, how it ended, whether it is valid, and the figures with their intervals."""

from __future__ import annotations

from collections.abc import Iterator

from tpb_core.report.figures import Figure, energy_figures, performance_figures
from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.tables import note, section, table
from tpb_core.report.run_text import NOT_MEASURED, headline, remarks, ungraded, without_sensor


def head(page: RunPage) -> Element:
    """Title, verdicts, when and where."""
    facts = page.facts
    manifest = facts.manifest
    study = manifest.get("study") or {}
    started = str(manifest.get("started_utc") or "at an unknown time")
    where = ", ".join(str(node.get("hostname") or node.get("node")) for node in manifest.get("nodes") or [])
    return tag(
        "header",
        tag("h1", headline(facts)),
        tag("p", f"Run {page.bundle.run_id} of study {study.get('study_id') or 'none'}, {started}, on {where or 'an unknown machine'}"),
        tag("div", (tag("span", text, class_=f"verdict {kind}") for kind, text in _verdicts(page))),
    )


def _verdicts(page: RunPage) -> Iterator[tuple[str, str]]:
    facts = page.facts
    status = str(facts.manifest["status"])
    yield ("good" if status == "complete" else "bad", status)
    if not facts.validity:
        yield "warn", "validity not known: not attributed yet"
    elif failed := facts.failed_gates():
        yield "bad", f"not valid: {', '.join(sorted({row['check'] for row in failed}))}"
    else:
        yield "good", "valid: every gate passed"
    total = facts.result() or {}
    evidence = total.get("evidence")
    if not facts.measured:
        yield "bad", "energy not measured"
    elif evidence:
        yield ("good" if evidence == "measured" else "warn", f"evidence: {evidence}")
    if facts.measured and not facts.observed:
        reached = str(page.level["level"])
        yield ("warn" if reached == "estimate" else "good", f"level of evidence: {reached}")
    if (facts.manifest.get("clock") or {}).get("virtual"):
        yield "warn", "simulated time: never compare with real runs"


def figures_section(page: RunPage) -> Element:
    """The figures as `tpb` prints them at the end of a run, and what a reader must know before using them."""
    facts = page.facts
    content: list[Element | None] = []
    if not facts.observed:
        content.append(_table(list(performance_figures(facts))))
    if facts.measured:
        content.append(_table(list(energy_figures(facts))))
    else:
        content.append(tag("p", NOT_MEASURED, class_="bad"))
        content.append(tag("p", "\n".join(without_sensor(facts)), class_="said small"))
    lines = [*remarks(facts), *filter(None, [ungraded(facts)])]
    content += [tag("p", line, class_="small") for line in lines]
    content.append(
        note(
            "Intervals are 95 % and within this rig: they leave out the calibration of the sensors, which does not cancel between rigs. "
            "Figures are rounded to two digits of their interval's half width; the bundle and the database keep all digits."
        )
    )
    return section("figures", "Figures", content)


def _table(figures: list[Figure]) -> Element:
    rows = [(f.title, f.value, f.unit, f.interval, f.scope, f.evidence, f.method) for f in figures]
    return table(("", "value", "unit", "95 % interval", "scope", "evidence", "method"), rows, numbers=(1,))
