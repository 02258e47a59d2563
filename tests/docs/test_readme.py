"""The README's commands are what CI runs and what a beginner types."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN_JOB = "    pip install -r requirements.txt && tpb"
TESTS = "    pip install nox && nox"


def test_the_two_commands_stand_in_the_readme_as_indented_lines() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert lines.count(MAIN_JOB) == 1
    assert lines.count(TESTS) == 1


def test_ci_runs_the_second_command_as_the_readme_prints_it() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert f"^    \\({TESTS.strip()}\\)$" in script
    assert "README.md" in script


def test_the_main_job_installs_what_the_defaults_choose() -> None:
    """`tpb` without words needs the plugins that conf/tpb.yaml names."""
    requirements = (ROOT / "requirements.txt").read_text()
    for distribution in ("tpb-engine-llamacpp", "tpb-prompts", "tpb-attributors", "tpb-sim"):
        assert f"-e plugins/{distribution}" in requirements.splitlines()
