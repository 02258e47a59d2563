"""`tpb env create NAME` and `tpb env list`: interpreters of their own for engines, whose dependencies exclude each other.

An environment holds the engine's plugin with its dependencies, and of tpb only what the engine worker needs: tpb-core without its
dependencies, pyarrow and stevedore. `engine.python=NAME` runs an engine in it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpb_core import drivers, known
from tpb_core.api.errors import EXIT_DONE, BadInput, Refused
from tpb_core.config.interpreter import environments, environments_folder, python_of

_WORKER_NEEDS = ("pyarrow>=15", "stevedore>=5.2")
_LIBRARY_EXTRA = "run"
"""Extra of a plugin that brings the library which it drives, where that is not a plain dependency."""


def main(argv: list[str]) -> int:
    """Exit code 0; raises BadInput and Refused."""
    parser = argparse.ArgumentParser(prog="tpb env", description="Interpreters of their own for engines.")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make an environment for an engine and install its plugin")
    create.add_argument("name", help="name of the engine; also the name of the environment")
    create.add_argument("--from", dest="source", metavar="FOLDER", help="folder of the plugin (default: plugins/ of the clone)")
    create.add_argument("--python", default=sys.executable, help="interpreter that the environment is made with")
    create.add_argument("--with", dest="extra", action="append", default=[], metavar="REQUIREMENT", help="install this too; repeatable")
    commands.add_parser("list", help="environments that there are")
    asked = parser.parse_args(argv)
    if asked.command == "list":
        print_list()
    else:
        create_environment(asked.name, asked.source, asked.python, asked.extra)
    return EXIT_DONE


def print_list() -> None:
    """Names and interpreters."""
    names = environments()
    for name in names:
        print(f"{name}  {python_of(environments_folder() / name)}")
    if not names:
        print("There is none. Make one:  tpb env create llamacpp")


def create_environment(name: str, source: str | None, python: str, extra: Sequence[str]) -> None:
    """Make it afresh, or bring an existing one up to date. What the installer prints goes to the terminal."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise BadInput(f"{name!r} is no name for an environment.", "Type the name of an engine, for example:  tpb env create llamacpp")
    root = known.clone_root()
    if root is None:
        raise Refused(
            "tpb was not installed from a clone, and tpb-core is not published yet.", "Clone the repository and:  pip install -e ."
        )
    plugin = _plugin_folder(name, source)
    folder = environments_folder() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    target = str(python_of(folder))
    if not python_of(folder).exists():
        _run([uv, "venv", str(folder), "--python", python] if uv else [python, "-m", "venv", str(folder)])
    install = [uv, "pip", "install", "--python", target] if uv else [target, "-m", "pip", "install"]
    plugins = with_siblings(plugin)
    _run([*install, "--no-deps", "-e", str(root), *(word for each in plugins for word in ("-e", str(each)))])
    _run([*install, *_WORKER_NEEDS, *foreign_requirements(plugins), *extra])
    print(f"\nMade {folder}.\nUse it:  tpb engine={name} engine.python={name}")


def with_siblings(plugin: Path) -> list[Path]:
    """Folders of a plugin and of those of the clone that it builds upon, which are on no index either."""
    found = [plugin]
    for folder in found:
        for requirement in _requirements(folder):
            sibling = known.plugin_folder(_distribution(requirement))
            if sibling is not None and sibling not in found:
                found.append(sibling)
    return found


def foreign_requirements(plugins: Sequence[Path]) -> list[str]:
    """What plugins of the clone require of others, the libraries that they drive included; tpb-core is installed without its own."""
    wanted = dict.fromkeys(requirement for plugin in plugins for requirement in _requirements(plugin))
    ours = {"tpb-core", *(plugin.name for plugin in plugins)}
    return [requirement for requirement in wanted if _distribution(requirement) not in ours]


def _requirements(plugin: Path) -> list[str]:
    project: dict[str, Any] = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    return [*project.get("dependencies", []), *project.get("optional-dependencies", {}).get(_LIBRARY_EXTRA, [])]


def _distribution(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else ""


def _plugin_folder(name: str, source: str | None) -> Path:
    if source is not None:
        folder = Path(source).resolve()
        if not (folder / "pyproject.toml").is_file():
            raise BadInput(f"--from {source}: there is no pyproject.toml.", "Name the folder of the engine's plugin.")
        return folder
    engines = known.KNOWN["tpb.engines"]
    found = known.plugin_folder(engines[name]) if name in engines else None
    if found is None:
        there = [engine for engine, distribution in engines.items() if known.plugin_folder(distribution) is not None]
        near = drivers.near_misses(name, there)
        fix = f"Did you mean tpb env create {near[0]}?" if near else "For a plugin of somebody else:  tpb env create NAME --from FOLDER"
        raise BadInput(f"engine {name!r} has no plugin in this clone.", fix, [f"Engines here: {', '.join(sorted(there))}"])
    return found


def _run(command: Sequence[str]) -> None:
    print("+ " + " ".join(command), flush=True)
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise Refused(
            f"{Path(command[0]).name} failed with exit code {done.returncode}; see its output above.", "Mend what it says, and repeat."
        )
