"""Fixtures that more than one part of the core's tests needs."""

from __future__ import annotations

import os
import signal
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Started in the background (`... &`, nohup): every process that a test starts would ignore Ctrl-C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)

THIRD_PARTY = Path(__file__).parent / "third_party"


def make_distribution(folder: Path, name: str, version: str, entry_points: dict[str, dict[str, str]]) -> Path:
    """What an installer leaves behind of a distribution: a `dist-info` with metadata and entry points."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line for group, rows in entry_points.items() for line in (f"[{group}]", *(f"{key} = {value}" for key, value in rows.items()), "")
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`install(name, version, entry_points, modules)`: a distribution on the path of this process and of those that it starts."""

    def add(name: str, version: str, entry_points: dict[str, dict[str, str]], modules: dict[str, str] | None = None) -> Path:
        folder = make_distribution(tmp_path / "site" / name, name, version, entry_points)
        for module, text in (modules or {}).items():
            (folder / f"{module}.py").write_text(text)
        _on_path(monkeypatch, folder)
        return folder

    return add


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tpb-acme, as if installed: `engine=acme meter=acme prompts=acme attributor=[acme]`, a listener and the preset acme_short."""
    source = THIRD_PARTY / "tpb-acme"
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    _on_path(monkeypatch, make_distribution(tmp_path / "site" / "acme", project["name"], project["version"], project["entry-points"]))
    _on_path(monkeypatch, source / "src")


def _on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.syspath_prepend(str(folder))
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{before}" if before else str(folder))
