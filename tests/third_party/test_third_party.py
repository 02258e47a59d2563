"""tpb-acme, installed from its own pyproject beside tpb-core in a clean environment: outsiders need nothing from us."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ACME = ROOT / "tests" / "third_party" / "tpb-acme"

pytestmark = pytest.mark.slow


def call(*command: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A child process that knows nothing of this test's Python path."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**clean, **environ}, timeout=300)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with wheels of tpb-core and tpb-acme, and nothing of the clone on its path."""
    folder = tmp_path_factory.mktemp("clean")
    venv = folder / "venv"
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    python = str(venv / "bin" / "python")
    make = [uv, "venv", str(venv), "--python", sys.executable] if uv else [sys.executable, "-m", "venv", str(venv)]
    install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    for step in (make, [*install, str(ROOT), str(ACME)]):
        done = call(*step, folder=folder)
        assert done.returncode == 0, done.stderr
    return venv


def test_it_is_listed(environment: Path, tmp_path: Path) -> None:
    done = call(str(environment / "bin" / "tpb"), "plugins", "list", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tpb-acme 3.2.1") == 6
    assert "llamacpp not installed. Install it from a clone of tpb: pip install -e plugins/tpb-engine-llamacpp" in " ".join(
        done.stdout.split()
    )


def test_it_runs_from_end_to_end(environment: Path, tmp_path: Path) -> None:
    tpb = str(environment / "bin" / "tpb")
    words = ["+engine=acme", "+meter=acme", "+prompts=acme", "+attributor=[acme]", "load.requests=4", "load.batch_size=2", "run.idle_s=0.2"]
    done = call(tpb, *words, "sampling.max_output_tokens=8", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (bundle,) = (tmp_path / "runs").glob("*/manifest.json")
    manifest = json.loads(bundle.read_text())
    assert manifest["status"] == "complete"
    assert {row["distribution"] for row in manifest["plugins"]} == {"tpb-acme"}
    assert (bundle.parent / "x_acme.txt").read_text() == f"points seen by acme: {manifest['study']['point']}\n"
    query = 'select round(e.joules / ((w.t1_ns - w.t0_ns) / 1e9), 6) as watts from energy e join windows w using (run_id, "window")'
    asked = call(tpb, "sql", f"{query} where e.phase = 'total' and e.\"window\" = 'measure'", "--format", "csv", folder=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.split() == ["watts", "42.0"]


def test_presets_of_the_core_and_of_the_plugin_are_found(environment: Path, tmp_path: Path) -> None:
    for preset, runs in (("acme_short", "2 runs"), ("publish", "5 runs")):
        words = ["engine=acme", "meter=acme", "prompts=acme", "attributor=[acme]", f"+experiment={preset}", "--dry-run"]
        done = call(str(environment / "bin" / "tpb"), *words, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert runs in done.stdout


def test_an_environment_of_its_own_runs_the_engine(tmp_path: Path) -> None:
    """From the clone: `tpb env create` makes it, doctor sees it, and the engine that this interpreter does not have runs in it."""
    tpb = [sys.executable, "-m", "tpb_core.cli.main"]
    data = {"XDG_DATA_HOME": str(tmp_path / "data")}
    made = call(*tpb, "env", "create", "acme", "--from", str(ACME), folder=tmp_path, **data)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "data" / "tpb" / "envs" / "acme" / "bin" / "python").exists()
    assert "engine=acme engine.python=acme  works" in call(*tpb, "doctor", folder=tmp_path, **data).stdout
    inside = call(str(tmp_path / "data" / "tpb" / "envs" / "acme" / "bin" / "tpb"), "doctor", folder=tmp_path, **data)
    assert inside.returncode == 0, inside.stderr
    assert "acme  works  version 3.2.1" in inside.stdout
    alone = call(str(tmp_path / "data" / "tpb" / "envs" / "acme" / "bin" / "tpb"), "engine=acme", folder=tmp_path, **data)
    assert alone.returncode == 3
    assert "This environment runs engines only" in alone.stderr
    words = ["engine=acme", "engine.python=acme", "meter=[]", "attributor=[totals]", "load.requests=2", "sampling.max_output_tokens=4"]
    done = call(*tpb, *words, folder=tmp_path, **data)
    assert done.returncode == 0, done.stderr
    (bundle,) = (tmp_path / "runs").glob("*/manifest.json")
    assert json.loads(bundle.read_text())["config"]["engine"]["python"] == "acme"
