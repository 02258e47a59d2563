"""Rules of the house: which way imports run, what every plugin declares, and how long a file may be."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core.config.options import option_table
from tpb_core.config.schema import LOADS, OutOptions, RunOptions, SamplingOptions

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "tpb_core"
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))

ORDER = [
    {"api"},
    {"known", "drivers"},
    {"hooks"},
    {"config", "energy", "store"},
    {"run"},
    {"report"},
    {"cli"},
]
"""A package may import from its own entry and from the ones before it. `hooks` needs `drivers` to find listeners."""

ALONE = {"stevedore": {"drivers"}, "pluggy": {"hooks"}, "hydra": {"config"}, "duckdb": {"store"}}
"""Libraries that exactly one part of the core knows."""

WORKER_ROOMS = [
    "api",
    "drivers.py",
    "known.py",
    "store/spool.py",
    "store/schema.py",
    *(f"run/{path.name}" for path in (CORE / "run").glob("worker*.py")),
]
WORKER_MAY_IMPORT = {"pyarrow", "stevedore", "tpb_core"}

MOST_LINES = 300


def imports(path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """Modules that a file imports, also inside functions; those for type checkers only are left out."""
    yield from _imports(ast.parse(path.read_text()).body)


def _imports(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            yield from ((f"{module}.{alias.name}" if module == "tpb_core" else module, node) for alias in node.names)
        else:
            for field in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _imports(getattr(node, field, []))


def core_files() -> list[Path]:
    return sorted(path for path in CORE.rglob("*.py") if "templates" not in path.parts)


def part_of(path: Path) -> str:
    """`tpb_core/run/session.py` -> `run`."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", core_files(), ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    part = part_of(path)
    level = next((n for n, parts in enumerate(ORDER) if part in parts), None)
    for module, _ in imports(path):
        pieces = module.split(".")
        if pieces[0] != "tpb_core" or len(pieces) == 1 or level is None:
            continue
        theirs = next((n for n, parts in enumerate(ORDER) if pieces[1] in parts), None)
        if theirs is None:
            assert pieces[1] in ("__version__", "testing"), module
            assert pieces[1] != "testing", f"{path} imports {module}"
        elif theirs == level:
            assert pieces[1] == part or pieces[1] in ("known", "drivers", "config", "store"), f"{path} imports {module}"
        else:
            assert theirs < level, f"{path} imports {module}"


@pytest.mark.parametrize("path", core_files(), ids=name_of)
def test_the_core_imports_no_plugin_and_each_library_has_one_home(path: Path) -> None:
    for module, _ in imports(path):
        top = module.partition(".")[0]
        assert top == "tpb_core" or not top.startswith("tpb_"), f"{path} imports the plugin {module}"
        if top in ALONE and part_of(path) != "testing":
            assert part_of(path) in ALONE[top], f"{path} imports {module}"


@pytest.mark.parametrize("room", WORKER_ROOMS)
def test_the_engine_worker_needs_little(room: str) -> None:
    import sys

    files = [CORE / room] if room.endswith(".py") else sorted((CORE / room).glob("*.py"))
    for path in files:
        for module, _ in imports(path):
            top = module.partition(".")[0]
            assert top in WORKER_MAY_IMPORT or top in sys.stdlib_module_names, f"{path} imports {module}"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugins_import_the_public_parts_of_the_core_only(plugin: Path) -> None:
    public = ("tpb_core.api", "tpb_core.energy", "tpb_core.hooks", "tpb_core.__version__")
    for path in (plugin / "src").rglob("*.py"):
        for module, _ in imports(path):
            if module.partition(".")[0] == "tpb_core":
                assert module.startswith(public), f"{path} imports {module}"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugins_declare_what_they_must(plugin: Path) -> None:
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    assert project["name"] == plugin.name
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert any(requirement.startswith("tpb-core") for requirement in project["dependencies"])
    assert (plugin / "README.md").is_file()
    assert project["entry-points"]


def declared_plugins() -> list[tuple[str, str, str]]:
    found = []
    for plugin in PLUGINS:
        project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
        for group, rows in project.get("entry-points", {}).items():
            found += [(group, name, value) for name, value in rows.items()]
    return found


@pytest.mark.parametrize(("group", "name", "value"), declared_plugins(), ids=lambda value: str(value))
def test_every_entry_point_resolves(group: str, name: str, value: str) -> None:
    module, _, attribute = value.partition(":")
    pytest.importorskip(module.partition(".")[0], reason="this plugin is not installed here", exc_type=ModuleNotFoundError)
    loaded = importlib.import_module(module)
    assert not attribute or getattr(loaded, attribute)


def config_classes() -> list[type]:
    from tpb_core import drivers

    classes: list[type] = [RunOptions, SamplingOptions, OutOptions, *LOADS.values()]
    for group in ("tpb.engines", "tpb.meters", "tpb.prompts", "tpb.attributors"):
        classes += [drivers.load(group, name).config_class for name in drivers.names(group)]
    return classes


def test_every_option_has_help_and_a_unit_key() -> None:
    for config_class in config_classes():
        for field in dataclasses.fields(config_class):
            where = f"{config_class.__qualname__}.{field.name}"
            assert field.metadata.get("help"), f"{where} has no help: make it with option(...)"
            assert "unit" in field.metadata, f"{where} has no unit key"


def test_options_whose_names_end_in_a_unit_have_that_unit() -> None:
    units = {"_s": "s", "_ms": "ms", "_w": "W", "_j": "J", "_tokens": "tokens", "_ns": "ns"}
    for config_class in config_classes():
        for row in option_table(config_class):
            for ending, unit in units.items():
                if row.name.endswith(ending):
                    assert row.unit == unit, f"{config_class.__qualname__}.{row.name}: unit {row.unit!r}"


@pytest.mark.parametrize("path", [*core_files(), *(p for plugin in PLUGINS for p in sorted(plugin.rglob("*.py")))], ids=name_of)
def test_a_file_is_one_room(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MOST_LINES, f"{path} has more than {MOST_LINES} lines"
    if path.name != "conftest.py" and text.strip():
        assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is for"
