"""Comparisons of whole runs: what is admitted, what is refused, what is said of the result."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api.errors import BadInput, Refused
from tpb_core.report.comparison.admission import Permissions
from tpb_core.report.comparison.comparison import Comparison, compare
from tpb_core.report.comparison.comparison_rows import comparison_table
from tpb_core.report.comparison.comparison_text import remarks
from tpb_core.report.comparison.lines import Line
from tpb_core.report.comparison.selection import group_of
from tpb_core.store.database import ingest

ONCE = ("edges", "a/1", 5.0, None, False)


def gain(sensor: str, joules: float) -> tuple[str, str, float, None, bool]:
    return ("gain", sensor, 0.037 * joules, None, True)


def compared(first: str | Path, second: str | Path, **asked: Any) -> Comparison:
    permissions = asked.pop("permissions", Permissions())
    database = asked.pop("database", Path("none/tpb.duckdb"))
    groups = [group_of(str(word), database, "measure") for word in (first, second)]
    return compare(groups[0], groups[1], window="measure", scope=asked.pop("scope", "total"), permissions=permissions, **asked)


def line(comparison: Comparison, title: str) -> Line:
    return next(each for each in comparison.lines if each.title == title)


def test_two_runs_on_one_sensor(make_run: Any) -> None:
    base = make_run("a", joules=1000.0, terms=[gain("GPU-1", 1000.0), ONCE])
    other = make_run("b", joules=900.0, terms=[gain("GPU-1", 900.0), ("edges", "b/1", 4.5, None, False)])
    comparison = compared(base, other)
    per_token = line(comparison, "J per output token")
    assert per_token.base == pytest.approx(1000 / 510) and per_token.other == pytest.approx(900 / 510)
    assert per_token.ratio.value == pytest.approx(0.9)
    assert per_token.ratio.total is not None
    assert per_token.ratio.total.u_log == pytest.approx(math.hypot(0.005, 0.005))
    assert comparison.same_sensors and comparison.verdict(per_token) == "lower in these runs"
    assert line(comparison, "J per request").ratio.value == pytest.approx(0.9)


def test_two_sensors_get_the_wide_interval_and_it_says_why(make_run: Any) -> None:
    base = make_run("a", joules=1000.0, terms=[gain("GPU-1", 1000.0)])
    other = make_run("b", joules=950.0, terms=[gain("GPU-2", 950.0)], sensor="GPU-2")
    comparison = compared(base, other)
    per_token = line(comparison, "J per output token")
    assert per_token.ratio.total is not None and per_token.ratio.total.u_log == pytest.approx(math.sqrt(2) * 0.037)
    assert comparison.verdict(per_token) == "no difference shown"
    said = " ".join(remarks(comparison))
    assert "do not cancel" in said and "gain of GPU-1 3.7 %" in said
    assert {d.what for d in comparison.differences} == {"sensors"}


def test_without_calibration_data_nothing_is_concluded_between_rigs(make_run: Any) -> None:
    base = make_run("a", joules=1000.0, terms=[ONCE], calibrated=False)
    other = make_run("b", joules=500.0, terms=[("edges", "b/1", 5.0, None, False)], calibrated=False, sensor="GPU-2")
    comparison = compared(base, other)
    per_token = line(comparison, "J per output token")
    assert per_token.ratio.total is None
    assert comparison.verdict(per_token) == "cannot be told: no_calibration_data"
    assert comparison.uncalibrated == ["GPU-1", "GPU-2"]
    assert any("Nothing is known of the errors of GPU-1, GPU-2" in remark for remark in remarks(comparison))


def test_without_calibration_data_one_rig_still_speaks_for_itself(make_run: Any) -> None:
    base = make_run("a", joules=1000.0, terms=[ONCE], calibrated=False)
    other = make_run("b", joules=500.0, terms=[("edges", "b/1", 5.0, None, False)], calibrated=False)
    comparison = compared(base, other)
    assert comparison.verdict(line(comparison, "J per output token")) == "lower in these runs, on this rig"


def test_a_sensor_without_a_name_is_its_machines_own(make_run: Any) -> None:
    def elsewhere(manifest: dict[str, Any], tables: Any) -> None:
        manifest["environment"]["machine_id"] = "m1"

    term = ("gain", "n0/gpu0/energy", 37.0, None, True)
    base = make_run("a", terms=[term], sensor=None)
    here = make_run("b", terms=[term], sensor=None)
    there = make_run("c", terms=[term], sensor=None, change=elsewhere)
    same, other = compared(base, here), compared(base, there)
    assert same.same_sensors and not other.same_sensors
    totals = [line(each, "J per output token").ratio.total for each in (same, other)]
    assert totals[0] is not None and totals[0].u_log == 0.0
    assert totals[1] is not None and totals[1].u_log == pytest.approx(math.sqrt(2) * 0.037)


def test_phases_of_other_methods_are_not_mixed(make_run: Any) -> None:
    base = make_run("a", phases={"prefill": 300.0, "decode": 700.0})
    same = make_run("b", phases={"prefill": 600.0, "decode": 400.0})
    other = make_run("c", phases={"prefill": 300.0, "decode": 700.0}, phase_method="steps/shapley")
    assert line(compared(base, same), "prefill, J per input token").ratio.value == pytest.approx(2.0)
    refused = line(compared(base, other), "prefill, J per input token").ratio
    assert refused.value is None and refused.reason == "methods_differ: windowed / steps/shapley"
    assert [each.title for each in compared(base, same, phase="decode").lines] == ["decode, J per output token"]
    with pytest.raises(Refused, match="other methods"):
        compared(base, other, phase="prefill")
    with pytest.raises(Refused, match="no run has a figure for decode"):
        compared(make_run("d"), make_run("e"), phase="decode")


def test_invalid_runs_are_left_out_with_their_reason(make_run: Any) -> None:
    base, other = make_run("a"), make_run("b", failed_gate="no_throttling")
    with pytest.raises(Refused) as refusal:
        compared(base, other)
    assert any("not valid: no_throttling" in text for text in refusal.value.lines())
    assert "--with-invalid" in str(refusal.value.fix)
    asked = compared(base, other, permissions=Permissions(invalid=True))
    assert asked.tolerated == [("b", "not valid: no_throttling")]
    assert any("Taken in because you asked: b" in remark for remark in remarks(asked))


def test_runs_without_energies_are_not_valid(make_run: Any) -> None:
    with pytest.raises(Refused, match="nothing of"):
        compared(make_run("a"), make_run("b", attributed=False))


def test_estimates_only_when_asked(make_run: Any) -> None:
    base, other = make_run("a"), make_run("b", evidence="estimated")
    with pytest.raises(Refused) as refusal:
        compared(base, other)
    assert "--with-estimates" in str(refusal.value.fix)
    assert compared(base, other, permissions=Permissions(estimates=True)).tolerated


def test_simulated_runs_do_not_stand_beside_real_ones(make_run: Any) -> None:
    real, virtual, too = make_run("a"), make_run("b", virtual=True), make_run("c", evidence="simulated")
    for one in (virtual, too):
        with pytest.raises(Refused, match="simulated runs do not stand beside real ones"):
            compared(real, one)
    assert compared(virtual, too).lines
    assert compared(real, virtual, permissions=Permissions(simulated=True)).lines


def test_totals_of_other_things_are_not_compared(make_run: Any) -> None:
    alone, with_host = make_run("a"), make_run("b", extra_domains=[("n0/cpu0", "package", 100.0)])
    with pytest.raises(Refused) as refusal:
        compared(alone, with_host)
    assert "--scope gpu" in str(refusal.value.fix)
    assert line(compared(alone, with_host, scope="gpu"), "J per output token").ratio.value == pytest.approx(1.0)


def study(point: str, repeat: int, order: int) -> dict[str, Any]:
    return {"study_id": "s", "point": point, "arm": "0", "repeat": repeat, "order": order}


def repeats(make_run: Any, places: dict[str, list[int]]) -> list[str]:
    words = []
    for point, orders in places.items():
        scale = 2.0 if point == "q" else 1.0
        runs = [
            make_run(f"{point}{n}", joules=scale * 1000 * math.exp(0.05 * n), study=study(point, n, order))
            for n, order in enumerate(orders)
        ]
        words.append(",".join(str(run) for run in runs))
    return words


@pytest.mark.parametrize(
    ("places", "paired"),
    [
        ({"p": [0, 3, 4], "q": [1, 2, 5]}, True),  # ABBA
        ({"p": [0, 2, 4], "q": [1, 3, 5]}, True),
        ({"p": [0, 1, 2], "q": [3, 4, 5]}, False),  # one after the other: drift is not shared
    ],
)
def test_repeats_made_side_by_side_are_pairs(make_run: Any, places: dict[str, list[int]], paired: bool) -> None:
    """Both points drift by 5 % a repeat: in pairs this cancels, between independent groups it is their spread."""
    comparison = compared(*repeats(make_run, places))
    ratio = line(comparison, "J per output token").ratio
    assert comparison.paired == paired and ratio.kind == "between_runs"
    assert ratio.value == pytest.approx(2.0) and ratio.within is not None
    assert ratio.within.u_log == pytest.approx(0.0 if paired else 0.05 * math.sqrt(2 / 3), abs=1e-12)


def test_pairing_can_be_asked_for(make_run: Any) -> None:
    words = repeats(make_run, {"p": [0, 1, 2], "q": [3, 4, 5]})
    assert compared(*words, pairing="paired").paired
    assert not compared(*words, pairing="independent").paired
    with pytest.raises(Refused, match="make no pairs"):
        compared(words[0], words[1].partition(",")[0], pairing="paired")


def test_a_group_of_several_configurations_says_so(make_run: Any) -> None:
    words = ",".join(str(make_run(name)) for name in ("a", "b"))
    said = list(remarks(compared(words, make_run("c"))))
    assert said[0].startswith("A holds 2 configurations") and not any(line.startswith("B holds") for line in said)


def test_what_else_differed_is_listed(make_run: Any) -> None:
    def change(manifest: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> None:
        manifest["environment"] |= {"packages": {"vllm": "2"}, "devices": [{"driver": "580", "power_limit_w": 300}]}
        manifest["engine"]["effective"] = {"dtype": "float16"}
        manifest["channels"].append(
            {"channel": "n0/gpu0/temperature", "domain": "n0/gpu0", "parent": "n0", "scope": "gpu", "kind": "gauge", "unit": "degC",
             "node": "n0", "allocated": True, "meter": "m", "evidence": "measured"}
        )  # fmt: skip
        tables["samples"] += [
            {"channel": "n0/gpu0/temperature", "t_ns": t * 10**9, "half_width_ns": 0, "value": value} for t, value in ((2, 60.0), (8, 64.0))
        ]
        tables["prompts"] = [{"prompt_id": "p0", "text": "something else"}]

    comparison = compared(make_run("a"), make_run("b", change=change))
    found = {row.what: (row.base, row.other) for row in comparison.differences}
    assert found["package: vllm"] == ("—", "2")
    assert found["device 0: driver"] == ("—", "580")
    assert found["engine, effective: dtype"] == ("—", "float16")
    assert found["mean n0/gpu0/temperature"] == ("—", "62.0 degC")
    assert "prompt texts" in found


def test_words_name_runs_studies_folders_and_conditions(make_run: Any, tmp_path: Path) -> None:
    paths = [make_run("a"), make_run("b", joules=500.0)]
    database = tmp_path / "runs" / "tpb.duckdb"
    ingest(paths, database)
    for words in (("a", "b"), ("s-a", "s-b"), (paths[0], "b"), ("joules > 600", "joules between 1 and 600")):
        comparison = compared(*words, database=database)
        assert line(comparison, "J per output token").ratio.value == pytest.approx(0.5), words
    with pytest.raises(BadInput, match="stands on both sides"):
        compared("a", "run_id in ('a', 'b')", database=database)
    with pytest.raises(BadInput, match="no run"):
        compared("a", "joules > 1e9", database=database)
    with pytest.raises(BadInput, match="is no run") as error:
        compared("a", "s-bb", database=database)
    assert "s-b" in " ".join(error.value.lines())


def test_a_bundle_and_the_database_say_the_same(make_run: Any, tmp_path: Path) -> None:
    base = make_run("a", terms=[gain("GPU-1", 1000.0), ONCE])
    other = make_run("b", terms=[gain("GPU-2", 1000.0)], sensor="GPU-2")
    database = tmp_path / "elsewhere" / "tpb.duckdb"
    ingest([base, other], database)
    rows = [comparison_table([compared(*words, database=database)]).drop(["base", "other"]) for words in ((base, other), ("a", "b"))]
    assert rows[0].equals(rows[1])
