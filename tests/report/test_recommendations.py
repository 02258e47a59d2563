"""Fronts and recommendations over small runs whose order can be seen on paper."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api.errors import BadInput, Refused
from tpb_core.cli.main import main
from tpb_core.report.comparison.admission import Permissions
from tpb_core.report.comparison.records import WITH_REQUESTS, record_of_bundle
from tpb_core.report.pareto.configurations import Field, field_of, remarks
from tpb_core.report.pareto.front import Place, places
from tpb_core.report.recommendation.goodput import goodput_of
from tpb_core.report.recommendation.recommendation import recommend
from tpb_core.report.recommendation.slo import read_targets
from tpb_core.store.database import ingest
from tpb_core.store.targets import Target

OK, SLOW = (100.0, 10.0, 51), (900.0, 10.0, 51)


def edges(name: str, du_j: float) -> list[tuple[str, str, float, None, bool]]:
    return [("edges", f"{name}/1", du_j, None, False)]


def fields(*paths: Path, permissions: Permissions | None = None) -> Field:
    return field_of([record_of_bundle(path, "measure", WITH_REQUESTS) for path in paths], "total", permissions or Permissions())


def front(*paths: Path, speed: str = "ttft_p50_ms") -> dict[str, Place]:
    found, _ = places(fields(*paths).configurations, scope="total", energy="token", speed=speed)
    return {place.configuration.records[0].run_id: place for place in found}


def test_a_configuration_is_beaten_only_for_certain(make_run: Any) -> None:
    """At one speed 1000 J, 1010 J with an error of 1 %, and 1200 J; and a faster one that costs more."""
    found = front(
        make_run("best", joules=1000.0, terms=edges("best", 1.0)),
        make_run("near", joules=1010.0, terms=edges("near", 10.0)),
        make_run("worse", joules=1200.0, terms=edges("worse", 1.0)),
        make_run("fast", joules=3000.0, terms=edges("fast", 1.0), latencies=[(50.0, 10.0, 51)] * 10),
    )
    assert {name: place.standing for name, place in found.items()} == {"best": "front", "near": "tie", "worse": "beaten", "fast": "front"}
    assert found["near"].beaten_by is found["best"].configuration
    assert found["best"].energy.value == pytest.approx(1000 / 510)


def test_what_other_uncalibrated_sensors_measured_cannot_be_ranked(make_run: Any) -> None:
    one = make_run("a", joules=1000.0, terms=edges("a", 1.0), calibrated=False)
    other = make_run("b", joules=2000.0, terms=edges("b", 1.0), calibrated=False, sensor="GPU-2")
    assert front(one, other)["b"].standing == "tie"
    assert any("no_calibration_data" in line for line in remarks(fields(one, other), "total"))


def test_repeats_are_one_configuration(make_run: Any) -> None:
    runs = [
        make_run(f"r{n}", joules=1000.0 + n, study={"study_id": f"s{n}", "point": "p", "arm": "0", "repeat": n, "order": n})
        for n in range(3)
    ]
    field = fields(*runs)
    assert [len(configuration.records) for configuration in field.configurations] == [3]


def test_what_is_left_out_is_said(make_run: Any) -> None:
    runs = [
        make_run("good"),
        make_run("virtual", virtual=True),
        make_run("estimate", evidence="estimated"),
        make_run("invalid", failed_gate="no_gap"),
        make_run("nothing", joules=None),
    ]
    field = fields(*runs)
    assert [configuration.records[0].run_id for configuration in field.configurations] == ["good"]
    assert {run_id for run_id, _ in field.left_out} == {"virtual", "estimate", "invalid", "nothing"}
    everything = fields(*runs, permissions=Permissions(True, True, True))
    assert len(everything.configurations) == 4
    with pytest.raises(Refused, match="no run can take part"):
        fields(runs[3])
    assert len(fields(runs[1]).configurations) == 1  # alone, simulated runs stand beside no real one


def test_another_work_is_pointed_out(make_run: Any) -> None:
    field = fields(make_run("a"), make_run("b", latencies=[(100.0, 10.0, 101)] * 10))
    assert any("Not the same work: mean output from 51 to 101" in line for line in remarks(field, "total"))


def test_targets_are_read_as_people_write_them() -> None:
    assert read_targets("ttft_p95=500ms, tpot_p99.9=0.05s,latency_p50=1min") == (
        Target("ttft", 95.0, 0.5),
        Target("tpot", 99.9, 0.05),
        Target("e2e", 50.0, 60.0),
    )
    assert read_targets("ttft_p95=500ms")[0].text == "ttft_p95=500ms"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no target"),
        ("ttft=500ms", "is no latency target"),
        ("ttft_p95=500", "has no unit"),
        ("ttft_p95=500h", "has an unknown unit"),
        ("tfft_p95=500ms", "is no latency"),
        ("ttft_p0=500ms", "never be met"),
        ("ttft_p95=0ms", "never be met"),
        ("ttft_p95=1s,ttft_p50=1s", "two targets"),
    ],
)
def test_what_is_no_target_is_refused(text: str, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        read_targets(text)


def test_good_requests_ended_well_and_met_every_target(make_run: Any) -> None:
    """Six keep both targets, one is slow to begin, one slow to go on, one failed, one was never finished; one ended after the window."""

    def change(manifest: Any, tables: dict[str, list[dict[str, Any]]]) -> None:
        tables["requests"][9] |= {"status": "unfinished", "finished_ns": None}
        tables["requests"][10]["finished_ns"] = 11_500_000_000

    latencies = [OK] * 6 + [SLOW, (100.0, 60.0, 51), OK, OK, OK]
    statuses = ["ok"] * 8 + ["error", "unfinished", "ok"]
    record = record_of_bundle(make_run("a", latencies=latencies, statuses=statuses, change=change), "measure", WITH_REQUESTS)
    goodput = goodput_of(record, read_targets("ttft_p50=500ms,tpot_p50=50ms"))
    assert (goodput.judged, goodput.good, goodput.met) == (10, 6, (7, 7))
    assert goodput.per_s == pytest.approx(0.6)
    assert goodput.meets(read_targets("ttft_p70=500ms,tpot_p70=50ms"))
    assert not goodput.meets(read_targets("ttft_p71=500ms,tpot_p70=50ms"))


def test_without_stamps_of_first_tokens_nothing_is_recommended(make_run: Any) -> None:
    def change(manifest: Any, tables: dict[str, list[dict[str, Any]]]) -> None:
        for row in tables["requests"]:
            row |= {"first_token_ns": None, "token_ns": None}

    candidates = recommend(fields(make_run("a", change=change)).configurations, read_targets("ttft_p50=1s"), "total")
    assert [(candidate.standing, candidate.reason) for candidate in candidates] == [("unknown", "no_token_stamps")]


def test_the_least_energy_per_good_request_is_recommended_with_its_ties(make_run: Any) -> None:
    """`cheap` misses the target; of the others `least` has 100 J a good request, `near` cannot be told from it, `more` can."""
    field = fields(
        make_run("cheap", joules=500.0, terms=edges("cheap", 1.0), latencies=[SLOW] * 10),
        make_run("more", joules=1500.0, terms=edges("more", 1.0)),
        make_run("near", joules=1005.0, terms=edges("near", 10.0)),
        make_run("least", joules=1000.0, terms=edges("least", 1.0)),
    )
    candidates = recommend(field.configurations, read_targets("ttft_p90=500ms"), "total")
    assert [(c.configuration.records[0].run_id, c.standing) for c in candidates] == [
        ("least", "least"),
        ("near", "tie"),
        ("more", "more"),
        ("cheap", "misses"),
    ]
    assert candidates[0].energy is not None and candidates[0].energy.value == pytest.approx(100.0)
    assert candidates[3].reason == "ttft_p90=500ms: 0 % of 10"


def test_a_failed_request_costs_energy_and_is_not_good(make_run: Any) -> None:
    run = make_run("a", joules=1000.0, latencies=[OK] * 10, statuses=["ok"] * 8 + ["error"] * 2)
    (candidate,) = recommend(fields(run).configurations, read_targets("ttft_p80=500ms"), "total")
    assert candidate.energy is not None and candidate.energy.value == pytest.approx(1000 / 8)


def test_too_few_requests_for_a_percentile_are_said(make_run: Any) -> None:
    (candidate,) = recommend(fields(make_run("a")).configurations, read_targets("ttft_p99=500ms"), "total")
    assert candidate.reason == "too few requests to show the percentile"


@pytest.fixture
def database(make_run: Any, tmp_path: Path) -> str:
    runs = [make_run("a", joules=1000.0, terms=edges("a", 1.0)), make_run("b", joules=2000.0, terms=edges("b", 1.0), latencies=[SLOW] * 10)]
    ingest(runs, tmp_path / "runs" / "tpb.duckdb")
    return str(tmp_path / "runs" / "tpb.duckdb")


def test_the_commands_print_tables_and_write_files(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, rows = tmp_path / "x.svg", tmp_path / "x.csv"
    for words, column in (
        (["pareto", "--speed", "ttft_p95_ms"], "standing"),
        (["recommend", "--slo", "ttft_p95=500ms"], "j_per_good_request"),
    ):
        assert main([*words, "--database", database, "--svg", str(picture), "--csv", str(rows)]) == 0
        assert "closed" in capsys.readouterr().out
        assert ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        written = list(csv.DictReader(io.StringIO(rows.read_text())))
        assert len(written) == 2 and column in written[0]
        assert main([*words, "joules > 1500", "--database", database, "--format", "csv"]) == 0
        assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 1


def test_the_compare_command(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a", "b", "--database", database, "--format", "csv"]) == 0
    rows = {row["figure"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert float(rows["J per output token"]["ratio"]) == pytest.approx(2.0)
    assert rows["J per output token"]["verdict"] == "higher in these runs"
    assert main(["compare", "a", "b", "--database", database]) == 0
    assert "no difference" not in capsys.readouterr().out.splitlines()[3]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["compare", "a"], 2, "needs two groups"),
        (["compare", "a", "b", "--paired", "--independent"], 2, "exclude each other"),
        (["compare", "a", "b", "--scop", "gpu"], 2, "Did you mean --scope?"),
        (["compare", "a", "b", "--format", "cvs"], 2, "Did you mean csv?"),
        (["pareto", "--speed", "ttft_p95"], 2, "Did you mean ttft_p95_ms?"),
        (["pareto", "engine = "], 2, "arser"),
        (["recommend"], 2, "needs targets"),
        (["recommend", "--slo"], 2, "needs a value"),
        (["recommend", "--slo", "ttft_p95=1s", "--svg", "/no/such/folder/x.svg"], 2, "cannot be written"),
        (["recommend", "--slo", "ttft_p95=1s", "--scope", "dram"], 3, "no run can take part"),
    ],
)
def test_bad_words_say_what_to_type(database: str, capsys: pytest.CaptureFixture[str], words: list[str], code: int, expected: str) -> None:
    assert main([*words, "--database", database] if words != ["recommend", "--slo"] else words) == code
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compare", "pareto", "recommend", "report"])
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Usage: tpb {command}" in capsys.readouterr().out
