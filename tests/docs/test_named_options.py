"""Options that the pages name exist: each stands in the reference, which is made from the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = sorted((ROOT / "docs" / "reference").glob("*.md"))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md")])
_NAMED = re.compile(r"\b((?:engine|load|run|sampling|prompts|out|meter\.\w+|attributor\.\w+)\.[a-z]\w*)=")
_DOCUMENTED = re.compile(r"^\| `([\w.]+)` \|", re.MULTILINE)
_PLACEHOLDERS = {"meter.NAME.required", "meter.acme.port"}


@pytest.fixture(scope="module")
def documented() -> set[str]:
    return {name for page in REFERENCE for name in _DOCUMENTED.findall(page.read_text())}


@pytest.mark.parametrize("page", [page for page in PAGES if page not in REFERENCE], ids=lambda path: str(path.relative_to(ROOT)))
def test_options_that_a_page_names_exist(page: Path, documented: set[str]) -> None:
    named = set(_NAMED.findall(page.read_text()))
    assert named - documented - _PLACEHOLDERS == set()
