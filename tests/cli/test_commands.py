"""The command line from outside: output, exit codes, and errors as lines on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpb_core import __version__
from tpb_core.cli.main import COMMANDS, main

ACME = ["engine=acme", "meter=acme", "prompts=acme", "attributor=[acme]"]
FAST = ["run.idle_s=0.1", "sampling.max_output_tokens=4", "engine.token_ms=1", "run.warmup_rounds=0"]
SHORT = ["load.requests=4", "load.batch_size=2", *FAST]

Tpb = Callable[..., "Done"]


class Done:
    """What a call of `main` left."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def tpb(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tpb:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def call(*words: str) -> Done:
        code = main(list(words))
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return call


def bundles(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/manifest.json"))]


def test_help_names_every_command_and_version_prints_it(tpb: Tpb) -> None:
    told = tpb("--help")
    assert told.code == 0
    assert all(f"  {command}" in told.out for command in COMMANDS)
    assert tpb("--version").out == f"tpb {__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["docter"], "Did you mean tpb doctor?"),
        (["--dryrun"], "Did you mean --dry-run?"),
        (["--frobnicate"], "tpb --help"),
        (["engine=acmee"], "Did you mean acme"),
        ([*ACME, "engine.token_mss=1"], "Did you mean engine.token_ms?"),
        ([*ACME, "load.batch_size=1,2"], "tpb -m load.batch_size=1,2"),
        (["plugins", "frobnicate"], "tpb plugins list"),
        (["plugins", "show", "acmee"], "Did you mean acme"),
        (["doctor", "now"], "tpb doctor"),
        (["env", "create", "../x"], "tpb env create llamacpp"),
        (["env", "create", "nonesuch"], "--from FOLDER"),
    ],
)
def test_bad_input_is_exit_2_without_a_traceback(tpb: Tpb, acme: None, words: list[str], expected: str) -> None:
    done = tpb(*words)
    assert done.code == 2
    assert expected in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_the_traceback_is_one_flag_away(tpb: Tpb) -> None:
    assert "Traceback" in tpb("docter", "--traceback").err


def test_a_fault_of_a_plugin_is_exit_1_and_names_the_distribution(tpb: Tpb, acme: None, install: Any) -> None:
    install("brittle", "1.0", {"tpb.engines": {"brittle": "brittle_m:E"}}, {"brittle_m": "raise RuntimeError('snap')"})
    done = tpb("engine=brittle", *ACME[1:])
    assert done.code == 1
    assert "brittle failed while importing engine 'brittle': RuntimeError: snap" in done.err


def test_options_of_whatever_is_chosen_are_shown(tpb: Tpb, acme: None) -> None:
    done = tpb("+engine=acme", "--help", "+load=closed")
    assert done.code == 0
    row = next(line for line in done.out.splitlines() if "engine.token_ms" in line)
    assert row.split() == ["engine.token_ms", "float", "10.0", "ms", "time", "of", "one", "decode", "step"]
    for part in ("(calm, stormy)", "[secret: never stored]", "load.concurrency", "run.repeats"):
        assert part in done.out
    assert "meter." not in done.out


def test_the_plan_is_shown_and_nothing_measured(tpb: Tpb, acme: None, tmp_path: Path) -> None:
    done = tpb("load.batch_size=1,2", "--dry-run", *ACME, "-m", "run.repeats=2", "run.idle_s=10")
    assert done.code == 0
    assert "4 runs" in done.out
    assert "load.batch_size=1, repeat 2 of 2" in done.out
    assert "at least 80 s" in done.out
    assert list(tmp_path.glob("runs/*")) == []


def test_plugins_are_listed_and_shown(tpb: Tpb, acme: None) -> None:
    assert "acme       tpb-acme 3.2.1" in tpb("plugins", "list").out
    shown = tpb("plugins", "show", "acme").out
    for part in ("engine acme", "meter acme", "prompt source acme", "attributor acme", "static_batch", "meter.acme.watts"):
        assert part in shown


def test_doctor_tells_what_works_and_what_does_not(acme: None, install: Any, tpb: Tpb) -> None:
    crash = "import os\nfrom tpb_core.api import *\nclass M(Meter):\n    def discover(self): os._exit(7)\n    def read(self): return []\n"
    install("crashing", "1.0", {"tpb.meters": {"crashing": "crashing_m:M"}}, {"crashing_m": crash})
    done = tpb("doctor")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert "works" in lines["acme"]
    assert "exit code 7" in lines["crashing"]
    assert "acme cloud" in done.out


def test_an_unwritable_folder_is_refused_before_anything_is_loaded(tpb: Tpb, acme: None, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = tpb(*ACME, "out.dir=file/below", "engine.model=missing")
    assert done.code == 2
    assert "out.dir=file/below: no results can be written there" in done.err
    assert "missing" not in done.err


def test_a_run_leaves_a_bundle(tpb: Tpb, acme: None, tmp_path: Path) -> None:
    done = tpb(*ACME, *SHORT)
    assert done.code == 0, done.err
    (manifest,) = bundles(tmp_path / "runs")
    assert manifest["status"] == "complete"
    assert manifest["choices"]["engine"] == "acme"
    assert {row["distribution"] for row in manifest["plugins"]} == {"tpb-acme"}


def test_a_missing_model_is_exit_2_and_leaves_nothing(tpb: Tpb, acme: None, tmp_path: Path) -> None:
    done = tpb(*ACME, *SHORT, "engine.model=missing")
    assert done.code == 2
    assert "there is no such model" in done.err
    assert bundles(tmp_path / "runs") == []


@pytest.mark.slow
def test_a_sweep_goes_on_where_it_stopped(tpb: Tpb, acme: None, tmp_path: Path) -> None:
    sweep = [*ACME, *FAST, "load.requests=2", "-m"]
    assert tpb(*sweep, "load.batch_size=1").code == 0
    done = tpb(*sweep, "load.batch_size=1,2", "run.order=sequential")
    assert done.code == 0, done.err
    assert "1 of 2 are finished already" in done.err
    manifests = bundles(tmp_path / "runs")
    assert [m["load"]["parameters"]["batch_size"] for m in manifests] == [1, 2]
    assert "All 2 runs are finished already" in tpb(*sweep, "load.batch_size=1,2").err
    assert len(bundles(tmp_path / "runs")) == 2
    assert tpb(*sweep, "load.batch_size=1,2", "--rerun").code == 0
    assert len(bundles(tmp_path / "runs")) == 4


def test_a_run_that_fails_does_not_stop_the_others(tpb: Tpb, acme: None, tmp_path: Path) -> None:
    done = tpb(*ACME, *SHORT, "-m", "engine.model=missing,null", "run.order=sequential")
    assert done.code == 2
    assert "there is no such model" in done.err
    assert [m["status"] for m in bundles(tmp_path / "runs")] == ["complete"]


def test_a_second_measurement_is_refused_when_asked_not_to_wait(tpb: Tpb, acme: None, tmp_path: Path) -> None:
    from tpb_core.run.interruption import Interruption
    from tpb_core.run.machine_lock import MachineLock

    with MachineLock(wait=False, notice=print, interruption=Interruption()):
        done = tpb(*ACME, *SHORT, "--no-wait")
    assert done.code == 3
    assert "another measurement is under way" in done.err
    assert bundles(tmp_path / "runs") == []


def test_a_closed_pipe_is_not_an_error() -> None:
    command = f"{sys.executable} -m tpb_core.cli.main --help | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 0
    assert done.stderr == ""
