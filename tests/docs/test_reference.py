"""The reference is made from the code, is up to date, and leaves nothing out."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tpb_core.api.codes import EventCode, Reason
from tpb_core.api.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED
from tpb_core.cli.main import COMMANDS
from tpb_core.config.options import option_table
from tpb_core.config.schema import LOADS, OutOptions, RunOptions, SamplingOptions
from tpb_core.energy.validity import CHECKS
from tpb_core.store.database_tables import DATABASE_TABLES
from tpb_core.store.result_columns import RESULT_COLUMNS
from tpb_core.store.schema import TABLES
from tpb_core.store.views import VIEW_MEANINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = {"tpb.engines": "engines", "tpb.meters": "meters", "tpb.prompts": "prompts", "tpb.attributors": "attributors"}


def page(name: str) -> str:
    return (ROOT / "docs" / "reference" / f"{name}.md").read_text()


def test_the_committed_pages_are_what_the_generator_writes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented_with_its_help(command: str) -> None:
    section = page("commands").split(f"\n## tpb {command}\n")[1].split("\n## ")[0]
    assert f"tpb {command}" in section.split("```")[1]


@pytest.mark.parametrize("code", [*Reason, *EventCode], ids=lambda code: f"{type(code).__name__}.{code.value}")
def test_every_code_is_documented(code: Reason | EventCode) -> None:
    assert f"| `{code.value}` | {code.meaning} |" in page("codes")


@pytest.mark.parametrize("code", [EXIT_DONE, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_REFUSED, EXIT_INTERRUPTED])
def test_every_exit_code_is_documented(code: int) -> None:
    assert f"| `{code}` |" in page("codes").split("## Exit codes")[1]


def test_every_check_is_documented_with_its_limit() -> None:
    text = page("validity")
    for check in CHECKS.values():
        assert f"| `{check.name}` |" in text
        assert f"{check.limit:g}" in next(line for line in text.splitlines() if line.startswith(f"| `{check.name}` |"))


def test_every_column_is_documented() -> None:
    database, bundle = page("database"), page("bundle-tables")
    for column in RESULT_COLUMNS:
        assert f"| `{column.name}` |" in database
    for name in (*DATABASE_TABLES, *VIEW_MEANINGS):
        assert f"`{name}`" in database
    for table, schema in TABLES.items():
        section = bundle.split(f"## {table}.parquet\n")[1].split("\n## ")[0]
        for field in schema:
            assert f"| `{field.name}`" in section, f"{table}.{field.name}"


def test_every_column_of_the_bundle_is_explained_by_the_contract() -> None:
    contract = page("run-bundle")
    for table in TABLES:
        assert f"{table}.parquet" in contract, table


def test_every_option_of_the_core_is_documented() -> None:
    text = page("options")
    sections = [("run", RunOptions), ("sampling", SamplingOptions), ("out", OutOptions), *(("load", load) for load in LOADS.values())]
    for section, config_class in sections:
        for row in option_table(config_class):
            assert f"`{section}.{row.name}`" in text


def declared() -> list[tuple[str, str]]:
    rows = []
    for path in sorted((ROOT / "plugins").glob("*/pyproject.toml")):
        for group, names in tomllib.loads(path.read_text())["project"].get("entry-points", {}).items():
            rows += [(group, name) for name in names if group in PAGES]
    return rows


@pytest.mark.parametrize(("group", "name"), declared(), ids=str)
def test_every_plugin_of_the_repository_is_documented(group: str, name: str) -> None:
    assert f"\n## {name}\n" in page(PAGES[group])
