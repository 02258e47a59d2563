"""Code in the pages is Python or TOML that can be read, and imports what exists."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[tuple[str, str]]:
    return [
        (f"{page.relative_to(ROOT)}:{number}", text)
        for page in PAGES
        for number, (kind, text) in enumerate(_BLOCK.findall(page.read_text()))
        if kind == language
    ]


@pytest.mark.parametrize(("place", "text"), blocks("python"), ids=lambda value: value if ":" in value and "\n" not in value else "")
def test_python_parses_and_its_imports_from_tpb_exist(place: str, text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tpb_core"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{place}: {node.module}.{alias.name}"


@pytest.mark.parametrize(("place", "text"), blocks("toml"), ids=lambda value: value if ":" in value and "\n" not in value else "")
def test_toml_parses(place: str, text: str) -> None:
    assert tomllib.loads(text), place
