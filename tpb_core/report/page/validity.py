"""The section of validity: every check with its value and limit, and the level of evidence."""

from __future__ import annotations

from collections.abc import Iterator

from tpb_core.api.levels import CHECK_PREFIX
from tpb_core.energy.validity import CHECKS
from tpb_core.report.evidence_level import headline
from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.tables import note, section, table
from tpb_core.report.rounding import significant
from tpb_core.report.run_facts import Row

_WORDS = {True: ("good", "passed"), False: ("bad", "failed"), None: ("warn", "no answer")}


def validity_section(page: RunPage) -> Element:
    """Failed gates first."""
    checks = [row for row in page.facts.validity if not row["check"].startswith(CHECK_PREFIX)]
    rows = sorted(checks, key=lambda row: (not (row["gate"] and row["passed"] is not True), row["passed"] is not False))
    if not rows:
        return section("validity", "Validity", tag("p", "No check was made: not_attributed."))
    return section(
        "validity",
        "Validity",
        table(
            ("check", "", "gate", "value", "limit", "unit", "window", "domain", "method", "reason", "asks"),
            map(_cells, rows),
            numbers=(3, 4),
        ),
        note("A run is valid when every gate passed; a gate without an answer fails. A check that this run cannot answer is no gate."),
        _level(page),
    )


def _level(page: RunPage) -> Iterator[Element]:
    """What the repeats of the run's point reach and lack. What is only watched has no repeats."""
    if not page.facts.measured or page.facts.observed:
        return
    repeats = page.level["repeats"]
    yield tag("h3", headline(page.level))
    yield tag("ul", (tag("li", sentence) for sentence in page.level["lacks"] or ()))
    yield note(f"Of this point of the study, with its {repeats} valid repeat{'' if repeats == 1 else 's'} that lie in this folder.")


def _cells(row: Row) -> list[Element | str | None]:
    kind, word = _WORDS[row["passed"]]
    numbers = [None if row["value"] is None else significant(row["value"], 3), None if row["limit"] is None else f"{row['limit']:g}"]
    unit = "" if row["unit"] in (None, "1") else row["unit"]
    return [
        row["check"],
        tag("span", word, class_=f"{kind} nowrap"),
        "gate" if row["gate"] else "",
        *numbers,
        unit,
        *(row[key] or "" for key in ("window", "domain", "method", "reason")),
        tag("span", CHECKS[row["check"]].asks if row["check"] in CHECKS else "", class_="soft small long"),
    ]
