"""`run.until_ci`: repeats until the interval between runs is narrow enough, on a simulated server whose repeats differ."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import mean, stdev

import pytest

from tpb_core.api.errors import BadInput
from tpb_core.config.compose import compose
from tpb_core.run.plan import make_plan
from tpb_core.run.progress import Silent
from tpb_core.run.stop_rule import share
from tpb_core.run.study import run_study
from tpb_core.store.results import results_of

T975 = {2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 6: 2.4469, 7: 2.3646, 8: 2.3060, 9: 2.2622}
"""Student's t for 95 %, from a printed table."""


def figures(folder: Path, *words: str) -> list[float]:
    point = compose(["+engine=sim", "+meter=sim", "load.requests=4", "run.idle_s=1", f"out.dir={folder}", *words])
    outcome = run_study(make_plan([point], multirun=False), Silent())
    assert outcome.failures == []
    found = []
    for bundle in outcome.bundles:
        found += [row["j_per_output_token"] for row in results_of(bundle) if (row["window"], row["scope"]) == ("measure", "total")]
    return found


def half_width(values: list[float]) -> float:
    return T975[len(values) - 1] * stdev(values) / math.sqrt(len(values)) / mean(values)


def test_it_stops_as_soon_as_the_interval_is_narrow_enough_and_not_before(tmp_path: Path) -> None:
    values = figures(tmp_path, "run.until_ci=1.5%", "run.max_repeats=10")
    assert 3 <= len(values) <= 10
    if len(values) < 10:
        assert half_width(values) <= 0.015
    assert all(half_width(values[:n]) > 0.015 for n in range(3, len(values)))


def test_the_cap_holds(tmp_path: Path) -> None:
    assert len(figures(tmp_path, "run.until_ci=0.0001%", "run.max_repeats=4")) == 4


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), ("0.05", 0.05)])
def test_shares(text: str, value: float) -> None:
    assert share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["0", "-1%", "two", "150%", ""])
def test_what_is_no_share_is_refused_with_what_to_type(text: str) -> None:
    with pytest.raises(BadInput, match="until_ci"):
        share(text)


def test_a_study_ends_where_more_users_bring_no_more_throughput(tmp_path: Path) -> None:
    """Four slots in the server: the fifth user only waits, so 8 users bring nothing over 4, and 16 are not measured."""
    words = [
        "+engine=sim",
        "+meter=sim",
        "load=closed",
        "load.requests=32",
        "run.idle_s=1",
        "run.order=sequential",
        "run.until_saturated=5%",
    ]
    words += ["engine.max_sequences=4", "prompts=synthetic", "prompts.input_tokens=32", f"out.dir={tmp_path}"]
    points = [compose([*words, f"load.concurrency={users}"]) for users in (1, 2, 4, 8, 16)]
    outcome = run_study(make_plan(points, multirun=True), Silent())
    assert outcome.failures == []
    assert len(outcome.bundles) == 4
