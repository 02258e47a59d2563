"""Points x repeats in an order, without what is finished."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.config.schema import OutOptions, Point, RunOptions, SamplingOptions, StaticLoad
from tpb_core.run.duration import Duration, duration_text, expected_duration
from tpb_core.run.plan import Plan, make_plan, slot_text


def point(name: str, out: str = "runs", *, engine: str = "e", experiment: str | None = None, **run: Any) -> Point:
    return Point(
        engine={"name": engine},
        meters={},
        prompts={"name": "p"},
        attributors=[],
        load=StaticLoad(),
        sampling=SamplingOptions(),
        run=RunOptions(**run),
        out=OutOptions(dir=out),
        choices={"experiment": experiment},
        config={},
        point=name,
        overrides=[f"x={name}", "y=1"],
    )


def order_of(plan: Plan) -> list[tuple[str, int]]:
    return [(slot.point.point, slot.repeat) for slot in plan.slots]


def finish(out: Path, study_id: str, name: str, repeat: int = 0, status: str = "complete", arm: str = "0") -> Path:
    bundle = out / f"{study_id}-{name}-{repeat}-{status}"
    bundle.mkdir(parents=True)
    study = {"study_id": study_id, "point": name, "arm": arm, "repeat": repeat, "order": 0}
    times = {"started_utc": "2026-01-01T00:00:00+00:00", "finished_utc": "2026-01-01T00:01:30+00:00"}
    (bundle / "manifest.json").write_text(json.dumps({"status": status, "study": study, **times}))
    return bundle


def test_abba_goes_forth_and_back() -> None:
    plan = make_plan([point(n, order="abba", repeats=4) for n in "AB"], multirun=True)
    assert "".join(name for name, _ in order_of(plan)) == "ABBAABBA"


def test_sequential_finishes_a_point_before_the_next() -> None:
    plan = make_plan([point(n, order="sequential", repeats=2) for n in "AB"], multirun=True)
    assert order_of(plan) == [("A", 0), ("A", 1), ("B", 0), ("B", 1)]


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_random_order_holds_every_run_once_in_blocks_of_repeats(points: int, repeats: int, seed: int) -> None:
    names = [f"p{n}" for n in range(points)]
    plan = make_plan([point(n, repeats=repeats, seed=seed) for n in names], multirun=True)
    order = order_of(plan)
    assert Counter(order) == Counter((n, r) for n in names for r in range(repeats))
    assert [repeat for _, repeat in order] == sorted(repeat for _, repeat in order)
    assert [slot.order for slot in plan.slots] == list(range(points * repeats))
    assert order == order_of(make_plan([point(n, repeats=repeats, seed=seed) for n in names], multirun=True))


def test_the_seed_decides_the_order() -> None:
    orders = {tuple(order_of(make_plan([point(f"p{n}", seed=seed) for n in range(5)], multirun=True))) for seed in range(20)}
    assert len(orders) > 10


def test_a_kept_engine_has_its_points_together() -> None:
    points = [point(f"{engine}{n}", engine=engine, isolation="engine", repeats=2) for n in range(3) for engine in "xy"]
    engines = [slot.point.engine["name"] for slot in make_plan(points, multirun=True).slots]
    assert sorted(engines) in (engines, engines[::-1])


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path) -> None:
    points = [point(n, str(tmp_path), order="sequential", repeats=2) for n in "ABC"]
    study_id = make_plan(points, multirun=True).study_id
    done = finish(tmp_path, study_id, "A", 0)
    finish(tmp_path, study_id, "A", 1, status="partial")
    finish(tmp_path, study_id, "B", 1, arm="other")
    finish(tmp_path, "run-20260101", "C", 0)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "manifest.json").write_text("[]")
    again = make_plan(points, multirun=True)
    assert again.study_id == study_id
    assert [(s.point.point, s.repeat) for s in again.open_slots] == [("A", 1), ("B", 0), ("B", 1), ("C", 0), ("C", 1)]
    assert list(again.finished.values()) == [done]
    assert [slot.order for slot in again.open_slots] == [1, 2, 3, 4, 5]


def test_a_longer_sweep_uses_what_a_shorter_one_measured(tmp_path: Path) -> None:
    short = make_plan([point("A", str(tmp_path))], multirun=True)
    finish(tmp_path, short.study_id, "A")
    longer = make_plan([point(n, str(tmp_path)) for n in "AB"], multirun=True)
    assert [slot.point.point for slot in longer.open_slots] == ["B"]


def test_rerun_measures_everything_again_as_a_study_of_its_own(tmp_path: Path) -> None:
    first = make_plan([point("A", str(tmp_path))], multirun=True)
    finish(tmp_path, first.study_id, "A")
    again = make_plan([point("A", str(tmp_path))], multirun=True, rerun=True)
    assert len(again.open_slots) == 1
    assert again.study_id != first.study_id
    assert make_plan([point("A", str(tmp_path), rerun=True)], multirun=True).finished == {}


def test_a_plain_run_is_never_skipped_and_an_experiment_is(tmp_path: Path) -> None:
    experiment = make_plan([point("A", str(tmp_path), experiment="publish")], multirun=False)
    assert experiment.study_id.startswith("experiment-publish-")
    finish(tmp_path, experiment.study_id, "A")
    assert make_plan([point("A", str(tmp_path), experiment="publish")], multirun=False).open_slots == []
    assert len(make_plan([point("A", str(tmp_path))], multirun=False).open_slots) == 1


def test_equal_points_are_one_point() -> None:
    assert len(make_plan([point("A"), point("A")], multirun=True).slots) == 1


def test_runs_are_told_apart_by_the_words_that_differ() -> None:
    plan = make_plan([point(n, order="sequential", repeats=2) for n in "AB"], multirun=True)
    assert [slot_text(plan, slot) for slot in plan.slots][:2] == ["x=A, repeat 1 of 2", "x=A, repeat 2 of 2"]


def test_durations_come_from_earlier_runs_or_are_lower_bounds(tmp_path: Path) -> None:
    points = [point(n, str(tmp_path), idle_s=10.0, idle_bare_s=5.0, max_duration_s=100.0) for n in "AB"]
    finish(tmp_path, "run-1", "A")
    slots = make_plan(points, multirun=True).slots
    by_name = {slot.point.point: slot for slot in slots}
    assert expected_duration([by_name["A"]]) == Duration(90.0, True)
    assert expected_duration([by_name["B"]]) == Duration(125.0, False)
    assert expected_duration(slots) == Duration(215.0, False)


@pytest.mark.parametrize(
    ("duration", "text"),
    [(Duration(40, True), "about 40 s"), (Duration(2400, False), "at least 40 min"), (Duration(9000, False), "at least 2.5 h")],
)
def test_durations_in_words(duration: Duration, text: str) -> None:
    assert duration_text(duration) == text
