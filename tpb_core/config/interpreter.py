"""Other interpreters that engines run in: where they are, and which options an engine has there."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tpb_core.api.errors import BadInput
from tpb_core.api.options import option
from tpb_core.api.versions import WORKER_PROTOCOL

_DESCRIBE_TIMEOUT_S = 120.0
_TYPES: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool, "None": None, "Any": Any, "list": list, "dict": dict}


OWN = "own"
"""`engine.python=own`: the environment of the engine's own name."""


def named(python: str | None, engine: str) -> str | None:
    """`engine.python` with `own` spelt out: what is chosen for several engines at once."""
    return engine if python == OWN else python


def environments_folder() -> Path:
    """Where `tpb env create` puts environments: the user's data folder."""
    import platformdirs

    return Path(platformdirs.user_data_dir("tpb", appauthor=False)) / "envs"


def environments() -> list[str]:
    """Names of the environments made by `tpb env create`."""
    folder = environments_folder()
    return sorted(path.name for path in folder.iterdir() if python_of(path).exists()) if folder.is_dir() else []


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / "bin" / "python"


def find_python(python: str) -> str:
    """The absolute path of `engine.python`: a path, or the name of an environment. Raises BadInput where there is none.

    Links are kept: a virtual environment's interpreter is a link, and following it would leave the environment.
    """
    if os.sep in python:
        path = Path(os.path.abspath(os.path.expanduser(python)))
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
        raise BadInput(f"engine.python={python}: there is no interpreter at {path}.", "Give the path of a Python interpreter.")
    named = python_of(environments_folder() / python)
    if named.exists():
        return str(named)
    listing = ", ".join(environments()) or "none"
    raise BadInput(
        f"engine.python={python}: there is no environment {python!r}.", f"Make it:  tpb env create {python}", [f"Environments: {listing}"]
    )


def config_class_in(python: str, engine: str) -> type:
    """The config dataclass of an engine in another interpreter, rebuilt from the option table that the worker there prints.

    Raises BadInput where that interpreter has no such engine, or a tpb that speaks another protocol.
    """
    told = _describe(python, engine)
    fields = [(row["name"], _type_of(row["type"]), option(row["default"], **_metadata(row))) for row in told["options"]]
    return dataclasses.make_dataclass(f"{engine.title()}Config", fields)


def _metadata(row: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `option`; what another version of tpb-core may add is left out."""
    present = {key: row[key] for key in ("unit", "choices", "secret", "minimum") if row.get(key) is not None}
    return {"help": row.get("help", ""), **present}


def _describe(python: str, engine: str) -> dict[str, Any]:
    command = [python, "-m", "tpb_core.run.worker", "--describe", engine]
    fix = f"Make an environment for it:  tpb env create {engine}   and choose it:  engine.python={engine}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_DESCRIBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"{python} cannot be asked for the options of engine {engine!r}: {error}", fix) from error
    if done.returncode != 0:
        last_line = done.stderr.strip().rsplit("\n", 1)[-1] or f"exit code {done.returncode}"
        raise BadInput(f"engine {engine!r} does not work in {python}: {last_line}", fix)
    told: dict[str, Any] = json.loads(done.stdout.strip().rsplit("\n", 1)[-1])
    if told.get("protocol", WORKER_PROTOCOL) != WORKER_PROTOCOL:
        raise BadInput(f"tpb-core in {python} speaks worker protocol {told['protocol']}, this one {WORKER_PROTOCOL}.", fix)
    return told


def runs_here(python: str | None) -> bool:
    """Whether `engine.python` means this interpreter."""
    return python is None or os.path.abspath(python) == os.path.abspath(sys.executable)


def _type_of(text: str) -> Any:
    """The type that an annotation names, of those that options may have. Anything else is taken as it comes (`Any`)."""
    try:
        return _evaluate(ast.parse(text.replace("<class '", "").replace("'>", "").replace("typing.", ""), mode="eval").body)
    except (KeyError, SyntaxError, TypeError):
        return Any


def _evaluate(node: ast.expr) -> Any:
    match node:
        case ast.Name(id=name):
            return _TYPES[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _evaluate(left) | _evaluate(right)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _evaluate(inner) | None
        case ast.Subscript(value=ast.Name(id="list" | "List"), slice=inner):
            return list[_evaluate(inner)]  # type: ignore[misc]
        case ast.Subscript(value=ast.Name(id="dict" | "Dict"), slice=ast.Tuple(elts=[key, value])):
            return dict[_evaluate(key), _evaluate(value)]  # type: ignore[misc]
    raise TypeError(ast.dump(node))
