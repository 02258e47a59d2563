"""Chores: `nox` runs lint and the default tests; `nox -l` lists the rest (one session for each engine that needs an environment of its own)."""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

PLUGINS = sorted(path.parent for path in Path("plugins").glob("*/pyproject.toml"))
HEAVY = {"tpb-engine-hf", "tpb-engine-deepspeed", "tpb-engine-vllm"}
"""Plugins whose own dependencies (torch) are left out of the default environment; their offline tests run without."""


def install_everything(session: nox.Session) -> None:
    """The core, the default plugins and all others, editable, as a developer has them."""
    session.install("-r", "requirements-dev.txt")


@nox.session
def lint(session: nox.Session) -> None:
    """ruff (style and mistakes) and mypy (strict on the core)."""
    session.install("ruff==0.17.5")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def tests(session: nox.Session) -> None:
    """Everything that runs without an engine environment of its own: the core, all plugins against their doubles, llama.cpp for real."""
    install_everything(session)
    session.run("mypy", "tpb_core")
    session.run("pytest", "-q", *session.posargs)


@nox.session
def hf(session: nox.Session) -> None:
    """Transformers for real on CPU (torch: 200 MB)."""
    session.install("torch==2.13.0")
    session.install("-e", ".[testing]", "-e", "plugins/tpb-engine-hf[transformers]")
    session.run("pytest", "-q", "plugins/tpb-engine-hf/tests", *session.posargs)
