"""The whole page as one text of HTML. It loads nothing, runs nothing, and says so to the browser in its content security policy."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from tpb_core import __version__
from tpb_core.report.page.balance import balance_section
from tpb_core.report.page.distribution import requests_section
from tpb_core.report.page.head import figures_section, head
from tpb_core.report.page.markup import rendered, tag
from tpb_core.report.page.missing import missing_section
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.style import PAGE
from tpb_core.report.page.surroundings import environment_section, options_section
from tpb_core.report.page.traces import traces_section
from tpb_core.report.page.uncertainty import uncertainty_section
from tpb_core.report.page.validity import validity_section

_SECTIONS = (
    figures_section, traces_section, balance_section, requests_section, uncertainty_section, validity_section, missing_section,
    options_section, environment_section,
)  # fmt: skip


def page_of(bundle: Path) -> str:
    """The page of a finished run. Raises BadBundle."""
    page = RunPage.read(bundle)
    sections = [make(page) for make in _SECTIONS]
    links = [tag("a", _title(section), href=f"#{dict(section.attributes)['id']}") for section in sections]
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy()),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="referrer", content="no-referrer"),
            tag("meta", name="generator", content=f"tpb {__version__}"),
            tag("title", f"tpb run {page.bundle.run_id}"),
            tag("style", PAGE),
        ),
        tag("body", head(page), tag("nav", links), tag("main", sections)),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{rendered(document)}\n"


def policy() -> str:
    """Nothing is loaded and nothing is run; the one style sheet is known by its hash."""
    digest = base64.b64encode(hashlib.sha256(PAGE.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _title(section: object) -> str:
    from tpb_core.report.page.markup import Element

    assert isinstance(section, Element)
    heading = section.children[0]
    assert isinstance(heading, Element)
    return str(heading.children[0])
