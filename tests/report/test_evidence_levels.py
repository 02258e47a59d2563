"""Levels of evidence as a user meets them: printed under the figures, on the page, in SQL, in the plan."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api.ledger import Ledger, ValidityRow
from tpb_core.cli.main import main
from tpb_core.report.page.page import page_of
from tpb_core.store.database import ingest
from tpb_core.store.ledger import write_ledgers
from tpb_core.store.query import query

MakeRun = Callable[..., Path]
SIMULATED = ["+engine=sim", "+meter=sim"]
LONG = "a measured window of 60 s (this run has {:.1f} s), with more load.requests"
IDLE = "a window idle_loaded_before of 60 s: run.idle_s=60"


def repeats(make_run: MakeRun, joules: list[float], lacking: dict[str, list[list[str]]], **given: Any) -> list[Path]:
    """Runs of one point; `lacking`: for each level the sentences of each run."""
    folders = []
    for number, each in enumerate(joules):
        study = {"study_id": "s", "point": "p", "arm": "0", "repeat": number, "order": number}
        folder = make_run(f"r{number}", joules=each, study=study, **given)
        ledger = Ledger("levels", "1")
        for level in ("device", "host", "wall"):
            said = lacking.get(level, [[]] * len(joules))[number]
            ledger.validity.append(ValidityRow(f"level_{level}", not said, False, value=len(said), limit=0, reason="; ".join(said) or None))
        write_ledgers(folder, [ledger])
        folders.append(folder)
    return folders


def level_in(folders: list[Path], database: Path) -> tuple[str, str | None, list[str] | None]:
    ingest(folders, database)
    (row,) = query(database, "select level, next_level, lacks from evidence_levels").to_pylist()
    (of_results,) = query(database, "select level from study_results where scope = 'total' and \"window\" = 'measure'").to_pylist()
    assert of_results["level"] == row["level"]
    return row["level"], row["next_level"], row["lacks"]


def test_three_good_repeats_are_device_and_five_host(make_run: MakeRun, tmp_path: Path) -> None:
    three = repeats(make_run, [1000.0, 1001.0, 999.0], {})
    assert level_in(three, tmp_path / "tpb.duckdb") == ("device", "host", ["5 valid repeats (there are 3): run.repeats=5"])


def test_the_top_has_no_next_level(make_run: MakeRun, tmp_path: Path) -> None:
    five = repeats(make_run, [1000.0, 1001.0, 999.0, 1000.5, 999.5], {})
    assert level_in(five, tmp_path / "tpb.duckdb") == ("wall", None, None)


def test_one_run_that_lacks_something_keeps_the_point_down_and_equal_demands_are_said_once(make_run: MakeRun, tmp_path: Path) -> None:
    said = [[LONG.format(10.04), IDLE], [LONG.format(11.0)], []]
    folders = repeats(make_run, [1000.0, 1001.0, 999.0], {"device": said, "host": said})
    assert level_in(folders, tmp_path / "tpb.duckdb") == ("estimate", "device", [LONG.format(10.04), IDLE])


def test_repeats_that_scatter_are_no_device(make_run: MakeRun, tmp_path: Path) -> None:
    """900, 1000 and 1100 J: the mean's half width is 4.303 * 100 / sqrt(3) = 248.4 J, 24.8 % of it."""
    level, following, lacks = level_in(repeats(make_run, [900.0, 1000.0, 1100.0], {}), tmp_path / "tpb.duckdb")
    assert (level, following) == ("estimate", "device")
    assert lacks == ["an interval between runs within 5 % (it is 24.8 %): more run.repeats"]


def test_a_run_that_is_not_valid_is_no_repeat_and_is_named(make_run: MakeRun, tmp_path: Path) -> None:
    folders = repeats(make_run, [1000.0, 1001.0, 999.0], {}, failed_gate="no_throttling")
    _, following, lacks = level_in(folders, tmp_path / "tpb.duckdb")
    assert following == "device"
    assert lacks == ["3 valid repeats (there are 0): run.repeats=3", "every validity gate passed (no_throttling did not)"]


def test_the_page_of_a_run_tells_the_level_with_the_repeats_beside_it(make_run: MakeRun) -> None:
    first, *_ = repeats(make_run, [1000.0, 1001.0, 999.0], {})
    make_run("other", joules=5.0)
    text = html.unescape(page_of(first))
    assert "level of evidence: device" in text
    assert "<li>5 valid repeats (there are 3): run.repeats=5</li>" in text


def test_a_simulated_study_says_what_it_lacks(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    quick = [*SIMULATED, "load.requests=8", "run.warmup_rounds=0"]
    assert main([*quick, "run.repeats=3"]) == 0
    printed = capsys.readouterr().out
    assert "Level of evidence: estimate. For device it lacks:\n  a measured window of 60 s (this run has " in printed
    assert f"\n  {IDLE}\n" in printed
    assert "valid repeats" not in printed
    assert main(quick) == 0
    assert "\n  3 valid repeats (there is 1): run.repeats=3\n" in capsys.readouterr().out


def test_a_plan_says_which_level_it_can_reach(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*SIMULATED, "--dry-run", "run.repeats=4", "run.idle_s=60"]) == 0
    told = capsys.readouterr().out
    assert "of this plan allow: device. For host it lacks:\n  5 repeats: run.repeats=5\n" in told
    assert main([*SIMULATED, "+experiment=publish", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "of this plan allow: host. For wall it lacks:\n  a measured window of 600 s: run.max_duration_s=600\n" in told
