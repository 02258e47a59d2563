"""Whole runs on a simulated server and with the acme engine: stages, refusals, time-outs, a kept engine, a measured program."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tpb_core.api.errors import BadInput, Refused
from tpb_core.config.compose import compose
from tpb_core.run.engine_shelf import EngineShelf
from tpb_core.run.program import Program
from tpb_core.run.session import RunResult, observe, run_point
from tpb_core.store.bundle import Bundle
from tpb_core.store.manifest import read_manifest
from tpb_core.store.results import results_of

SIM = ["+engine=sim", "+meter=sim"]
ACME = [
    "engine=acme",
    "prompts=acme",
    "attributor=[acme]",
    "engine.token_ms=1",
    "sampling.max_output_tokens=4",
    "run.warmup_rounds=0",
    "run.idle_s=0",
]


def run(folder: Path, *words: str, shelf: EngineShelf | None = None) -> RunResult:
    return run_point(compose([*words, f"out.dir={folder}"]), shelf=shelf)


def rows(bundle: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(bundle / f"{table}.parquet").to_pylist()
    return found


def windows(bundle: Path) -> dict[str, tuple[int, int]]:
    return {row["window"]: (row["t0_ns"], row["t1_ns"]) for row in rows(bundle, "windows")}


def test_a_run_goes_through_its_stages_and_leaves_a_valid_bundle(tmp_path: Path) -> None:
    result = run(tmp_path, *SIM, "run.idle_bare_s=3", "load.requests=8")
    assert (result.status, result.error) == ("complete", None)
    Bundle.open(result.bundle)
    seen = windows(result.bundle)
    order = ["idle_bare", "load", "warmup", "idle_loaded_before", "measure", "idle_loaded_after"]
    assert list(seen) == order
    for earlier, later in pairwise(order):
        assert seen[earlier][1] <= seen[later][0]
    measured = [row for row in rows(result.bundle, "requests") if row["role"] == "measured"]
    assert len(measured) == 8
    assert all(seen["measure"][0] <= row["due_ns"] <= row["submitted_ns"] <= row["finished_ns"] <= seen["measure"][1] for row in measured)
    assert seen["measure"][1] == max(row["finished_ns"] for row in measured)
    assert {row["output_tokens"] for row in measured} == {64}


def test_a_simulated_run_comes_close_to_the_truth_that_it_prints_beside(tmp_path: Path) -> None:
    result = run(tmp_path, *SIM, "engine.seed=3", "meter.sim.seed=4")
    truth = {
        (row["domain"], row["phase"]): row["as_metered_j"]
        for row in rows(result.bundle, "x_truth")
        if (row["window"], row["basis"], row["method"]) == ("measure", "gross", "pure")
    }
    total = next(row for row in results_of(result.bundle) if row["window"] == "measure" and row["scope"] == "total")
    assert total["joules"] == pytest.approx(truth["total", "total"], rel=0.005)
    for phase in ("prefill", "decode"):
        row = next(
            row
            for row in results_of(result.bundle, "phases")
            if (row["window"], row["domain"], row["phase"], row["method"]) == ("measure", "total", phase, "windowed")
        )
        assert row["joules"] == pytest.approx(truth["total", phase], rel=0.08)
        half = (row["ci_high_j"] - row["ci_low_j"]) / 2
        assert abs(row["joules"] - truth["total", phase]) < 3 * half, "95 % intervals are judged over many seeds, elsewhere"


def test_an_open_loop_that_outruns_the_server_has_a_drain(tmp_path: Path) -> None:
    result = run(tmp_path, *SIM, "load=constant", "load.rate=50", "load.requests=100", "run.idle_s=1")
    seen = windows(result.bundle)
    begin, end = seen["measure"]
    assert end - begin == 2_000_000_000, "100 requests at 50/s are scheduled over 2 s"
    assert seen["drain"][0] == end
    last = max(row["finished_ns"] for row in rows(result.bundle, "requests"))
    assert seen["drain"][1] == pytest.approx(last, abs=1)
    late = [row["submitted_ns"] - row["due_ns"] for row in rows(result.bundle, "requests") if row["role"] == "measured"]
    assert max(late) < 300_000_000, "no send waits for an answer: at most one iteration of the simulated engine"


def test_requests_that_take_too_long_are_timed_out_and_the_run_goes_on(tmp_path: Path) -> None:
    words = ["load=closed", "load.concurrency=2", "load.requests=4", "sampling.max_output_tokens=400", "run.request_timeout_s=1"]
    result = run(tmp_path, *SIM, *words, "run.warmup_rounds=0", "run.idle_s=1")
    measured = [row for row in rows(result.bundle, "requests") if row["role"] == "measured"]
    assert {row["status"] for row in measured} == {"timeout"}
    assert all(row["output_tokens"] > 0 for row in measured), "what they cost and gave stays in the ledger"
    assert result.status == "complete"


@pytest.mark.usefixtures("acme")
def test_requests_of_a_static_batch_that_take_too_long_end_with_the_tokens_that_they_have(tmp_path: Path) -> None:
    slow = ["meter=acme", "load.requests=4", "load.batch_size=2", "engine.token_ms=50", "sampling.max_output_tokens=400"]
    result = run(tmp_path / "a", *ACME, *slow, "run.request_timeout_s=1")
    measured = [row for row in rows(result.bundle, "requests") if row["role"] == "measured"]
    assert result.status == "complete"
    assert [row["status"] for row in measured] == ["timeout"] * 4
    assert all(1 <= row["output_tokens"] < 400 for row in measured)
    assert sum(row["emitted_tokens"] for row in rows(result.bundle, "steps")) == sum(row["output_tokens"] for row in measured)
    deaf = run(tmp_path / "b", *ACME, *slow, "run.request_timeout_s=1", "engine.mode=stormy")
    assert deaf.error is not None
    assert "cannot end single requests" in deaf.error.what


def test_a_run_stops_sending_when_its_time_is_over_and_lets_what_is_under_way_end(tmp_path: Path) -> None:
    """Ten requests a second for at most two seconds: at most a look (0.375 s, so four requests) later nothing is sent any more."""
    words = ["load=constant", "load.rate=10", "load.requests=1000", "run.max_duration_s=2", "run.warmup_rounds=0", "run.idle_s=1"]
    result = run(tmp_path, *SIM, *words)
    measured = [row for row in rows(result.bundle, "requests") if row["role"] == "measured"]
    assert 20 <= len(measured) <= 24
    assert {row["status"] for row in measured} == {"ok"}
    assert result.status == "complete"


@pytest.mark.usefixtures("acme")
def test_a_required_meter_that_does_not_work_refuses_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="acme sensor is gone"):
        run(tmp_path, *ACME, "meter=acme", "meter.acme.broken=true", "meter.acme.required=true")
    assert list(tmp_path.glob("2*")) == []


@pytest.mark.usefixtures("acme")
def test_a_meter_that_does_not_work_and_is_not_required_is_named_with_its_reason(tmp_path: Path) -> None:
    result = run(tmp_path, *ACME, "meter=acme", "meter.acme.broken=true", "load.requests=2")
    manifest = read_manifest(result.bundle)
    assert [(row["meter"], row["reason"]) for row in manifest["x_unavailable_meters"]] == [("acme", "no_sensor")]
    total = next(row for row in results_of(result.bundle) if row["window"] == "measure" and row["scope"] == "total")
    assert (total["j_per_output_token"], total["reason"]) == (None, "no_sensor")


@pytest.mark.usefixtures("acme")
def test_a_model_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such model") as caught:
        run(tmp_path, *ACME, "meter=acme", "engine.model=missing")
    assert caught.value.fix == "Leave engine.model out."
    assert list(tmp_path.glob("2*")) == []


@pytest.mark.usefixtures("acme")
def test_a_load_that_the_engine_cannot_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="static batches only"):
        run(tmp_path, *ACME, "meter=acme", "load=closed", "load.concurrency=2")
    with pytest.raises(Refused, match=r"sampling\.temperature"):
        run(tmp_path, *ACME, "meter=acme", "sampling.temperature=0.7")


@pytest.mark.usefixtures("acme")
def test_a_kept_engine_serves_the_next_run_and_its_steps_go_into_the_next_bundle(tmp_path: Path) -> None:
    words = [*ACME, "meter=acme", "run.isolation=engine"]
    with EngineShelf(keep=True, max_concurrency=4) as shelf:
        first = run(tmp_path, *words, "load.requests=4", "load.batch_size=4", shelf=shelf)
        second = run(tmp_path, *words, "load.requests=6", "load.batch_size=2", shelf=shelf)
    assert (first.status, second.status) == ("complete", "complete")
    assert "load" in windows(first.bundle)
    assert "load" not in windows(second.bundle)
    assert len(rows(first.bundle, "steps")) == 4, "one batch: a prefill step and three decode steps"
    assert len(rows(second.bundle, "steps")) == 12, "three batches"


@pytest.mark.usefixtures("acme")
def test_an_engine_is_told_the_longest_request_of_its_load_where_that_is_known(tmp_path: Path) -> None:
    words = [word for word in ACME if not word.startswith("prompts=")] + ["meter=acme", "load.requests=1", "load.batch_size=1"]
    known = run(tmp_path, *words, "prompts=synthetic", "prompts.input_tokens=300")
    assert read_manifest(known.bundle)["engine"]["x_context_tokens"] == 304
    unknown = run(tmp_path, *words, "prompts=acme")
    assert read_manifest(unknown.bundle)["engine"]["x_context_tokens"] is None


def test_a_measured_program_is_one_window_with_slices(tmp_path: Path) -> None:
    point = compose(["meter=estimate", f"out.dir={tmp_path}"])
    program = Program([sys.executable, "-c", "import time\nend = time.monotonic() + 1.2\nwhile time.monotonic() < end: pass"])
    result = observe(point, program, slice_s=0.5)
    assert (result.status, program.exit_code) == ("complete", 0)
    seen = windows(result.bundle)
    assert set(seen) == {"measure", "measure/0", "measure/1", "measure/2"}
    begin, end = seen["measure"]
    assert end - begin >= 1.2e9
    assert seen["measure/0"][0] == pytest.approx(begin, abs=5_000_000)
    assert seen["measure/2"][1] == end
    balance = next(row for row in results_of(result.bundle, "energy_balance") if (row["window"], row["domain"]) == ("measure", "total"))
    assert balance["total_j"] is None
    assert 0 < balance["ci_low_j"] < balance["ci_high_j"], "busy core seconds times 2 to 15 W"


def test_a_program_that_does_not_exist_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such program"):
        observe(compose(["meter=estimate", f"out.dir={tmp_path}"]), Program(["no-such-program"]))
    assert list(tmp_path.glob("2*")) == []


def test_output_texts_are_kept_only_when_asked_for(tmp_path: Path) -> None:
    words = [*SIM, "load.requests=2", "load.batch_size=2", "run.idle_s=1", "run.warmup_rounds=0"]
    assert not (run(tmp_path / "a", *words).bundle / "texts.parquet").exists()
    kept = run(tmp_path / "b", *words, "run.keep_texts=true").bundle
    assert [row["request"] for row in rows(kept, "texts")] == [0, 1]
    assert all(row["text"] for row in rows(kept, "texts"))
