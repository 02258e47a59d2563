"""Commands that must answer at once import nothing heavy and cost little CPU time over a bare interpreter."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

HEAVY = {
    "antlr4", "duckdb", "hydra", "llama_cpp", "numpy", "omegaconf", "pandas", "platformdirs", "pluggy", "psutil", "pyarrow", "rich",
    "scipy", "stevedore", "torch", "typer", "yaml",
}  # fmt: skip
LIMIT_S = 0.100
"""CPU time over a bare interpreter's, from the README."""
MOST_TRIES = 25

REPORT = (
    "import json, sys\nfrom tpb_core.cli.main import main\ncode = main({words!r})\nprint()\n"
    "print(json.dumps([code, sorted({{name.partition('.')[0] for name in sys.modules}})]))"
)


def run_and_list_modules(*words: str) -> tuple[int, set[str]]:
    code = REPORT.format(words=list(words))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    exit_code, modules = json.loads(done.stdout.rsplit("\n", 2)[-2])
    return exit_code, set(modules)


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["plugins", "list"], ["docter"]])
def test_nothing_heavy_is_imported(words: list[str]) -> None:
    _, modules = run_and_list_modules(*words)
    assert not modules & HEAVY


def test_doctor_and_option_tables_do_without_hydra(acme: None, tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for words in (["doctor"], ["+engine=acme", "--help"], ["plugins", "show", "acme"]):
        code, modules = run_and_list_modules(*words)
        assert code == 0
        assert not modules & {"hydra", "omegaconf", "antlr4", "duckdb", "numpy", "pyarrow", "scipy"}, words


def test_no_plugin_is_imported_by_a_list(acme: None) -> None:
    _, modules = run_and_list_modules("plugins", "list")
    assert not {name for name in modules if name.startswith("tpb_") and name != "tpb_core"}


@pytest.mark.parametrize("words", [["--help"], ["plugins", "list"]])
def test_the_cpu_time_is_within_the_limit(words: list[str]) -> None:
    """Minima of interleaved runs, because other work on the machine can only make a process dearer; a few tries on a busy one."""
    bare, ours = [], []
    for _ in range(MOST_TRIES):
        bare.append(_cpu_s("pass"))
        ours.append(_cpu_s(f"from tpb_core.cli.main import main; main({words!r})"))
        if min(ours) - min(bare) < LIMIT_S:
            return
    pytest.fail(f"bare {min(bare):.3f} s, ours {min(ours):.3f} s")


def _cpu_s(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True, env=dict(os.environ))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
