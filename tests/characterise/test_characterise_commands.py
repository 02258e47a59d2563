"""What the commands refuse, and the schedules and loads that they switch."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import BadInput, MeasurementFailed
from tpb_core.cli.calibrate import reference_u
from tpb_core.cli.main import main
from tpb_core.run.characterise.loads import BusyCores, SwitchedCommand, load_named
from tpb_core.run.characterise.schedule import LONGEST_S, SHORTEST_S, on_and_off, steady_levels


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["characterise", "--for", "soon"], "not a length of time"),
        (["characterise", "--load", ""], "--load needs a value"),
        (["characterise", "--lod", "cpu"], "Did you mean --load?"),
        (["characterise", "nvml"], "not of the form name=value"),
        (["characterise", "--seed", "x"], "not a whole number"),
        (["characterise", "--from", "nowhere"], "nowhere"),
        (["calibrate"], "needs --reference"),
        (["calibrate", "--reference", "n0/wall", "--reference-u", "many"], "not an uncertainty"),
        (["calibrate", "--reference", "n0/wall", "--from", "nowhere"], "nowhere"),
        (["watch", "--every", "-1"], "not a length of time"),
    ],
)
def test_bad_input_is_told_at_once(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["characterise", "calibrate", "watch"])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"tpb {command}" in capsys.readouterr().out


def test_a_load_that_is_no_program_measures_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["characterise", "+meter=estimate", "--load", "no-such-burner --hot"]) == 2
    assert "no-such-burner: no such program" in capsys.readouterr().err
    assert not list((tmp_path / "runs").glob("2*"))


@pytest.mark.parametrize(("text", "expected"), [("1%", (0.01, 0.0)), ("0.5% + 2W", (0.005, 2.0)), ("3W", (0.0, 3.0)), ("0", (0.0, 0.0))])
def test_uncertainty_of_a_reference(text: str, expected: tuple[float, float]) -> None:
    assert reference_u(text) == pytest.approx(expected)


@given(st.floats(1.0, 300.0), st.integers(0, 10_000))
def test_on_and_off_is_irregular_ends_off_and_is_fixed_by_its_seed(total_s: float, seed: int) -> None:
    parts = on_and_off(total_s, seed)
    assert parts == on_and_off(total_s, seed)
    assert [part.level for part in parts] == [float(k % 2) for k in range(len(parts))]
    assert parts[-1].level == 0.0
    assert all(SHORTEST_S <= part.seconds <= LONGEST_S for part in parts)
    assert total_s <= sum(part.seconds for part in parts) <= total_s + 2 * LONGEST_S


def test_steady_levels_are_as_many_as_a_line_needs() -> None:
    parts = steady_levels(120.0)
    assert len({part.level for part in parts}) == 6
    assert sum(part.seconds for part in parts) == pytest.approx(120)


def share_of_core(pids: list[int], seconds: float) -> float:
    def used() -> float:
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)

    before, begin = used(), time.monotonic()
    time.sleep(seconds)
    return (used() - before) / (time.monotonic() - begin)


def test_a_command_is_off_on_and_in_between_and_gone_afterwards() -> None:
    load = SwitchedCommand(["sh", "-c", "while :; do :; done"], settle_s=0.2)
    try:
        pids = load.prepare()
        assert share_of_core(pids, 0.3) == 0.0
        load.set(1.0)
        full = share_of_core(pids, 0.8)
        load.set(0.4)
        part = share_of_core(pids, 1.2)
        load.set(0.0)
        assert share_of_core(pids, 0.3) <= 0.05
    finally:
        load.close()
    assert full > 0.2, "other work on the machine takes its share"
    assert 0.1 * full < part < 0.8 * max(full, 0.5)
    assert not psutil.pid_exists(pids[0])


def test_busy_cores_are_off_until_told_and_gone_afterwards() -> None:
    load = BusyCores(cores=1)
    try:
        pids = load.prepare()
        time.sleep(0.05)
        assert psutil.Process(pids[0]).status() == psutil.STATUS_STOPPED
        load.set(1.0)
        assert share_of_core(pids, 1.0) > 0.1
        load.set(0.0)
        time.sleep(0.05)
        assert psutil.Process(pids[0]).status() == psutil.STATUS_STOPPED
    finally:
        load.close()
        load.close()
    assert not psutil.pid_exists(pids[0])


def test_a_command_that_ends_by_itself_is_no_load() -> None:
    load = SwitchedCommand(["sh", "-c", "sleep 0.05"], settle_s=2.0)
    with pytest.raises(MeasurementFailed, match="ended by itself"):
        load.prepare()
    load.close()


def test_a_quote_that_is_not_closed_is_bad_input() -> None:
    with pytest.raises(BadInput, match="No closing quotation"):
        load_named("python 'burn.py")
