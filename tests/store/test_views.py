"""The views people use, against figures worked out by hand from the small bundle: 100 W on the GPU, 10 W on the package."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api.ledger import BudgetRow, EnergyRow, Ledger, ValidityRow
from tpb_core.store.database import ingest
from tpb_core.store.ledger import write_ledgers
from tpb_core.store.query import query
from tpb_core.store.result_columns import RESULT_COLUMNS
from tpb_core.store.results import results_of

Make = Callable[..., Path]
GPU_J, CPU_J, DURATION_S, TOKENS = 31.0, 3.1, 0.31, 6
T975_INFINITE = 1.959963984540054


def _row(domain: str, joules: float | None, u: float | None = None, phase: str = "total", **more: Any) -> EnergyRow:
    low, high = (None, None) if u is None or joules is None else (joules - T975_INFINITE * u, joules + T975_INFINITE * u)
    given = {"ci_kind": "within_run", "evidence": "measured", "derivation": "metered", "mean_w": joules and joules / DURATION_S, **more}
    row = EnergyRow("measure", domain, phase, "totals", "gross", joules, u_without_calibration_j=u, ci_low_j=low, ci_high_j=high)
    for name, value in given.items():
        setattr(row, name, value)
    return row


def _totals(*rows: EnergyRow, budget: list[BudgetRow] | None = None, gate: bool | None = True) -> Ledger:
    return Ledger("totals", "1", energy=list(rows), budget=budget or [], validity=[ValidityRow("window_bracketed", gate, True)])


def _measured(make_bundle: Make, **more: Any) -> Path:
    folder = make_bundle(**more)
    write_ledgers(
        folder, [_totals(_row("n0/gpu0", GPU_J, 0.3), _row("n0/cpu0", CPU_J, 0.1, evidence="modelled"), _row("total", GPU_J + CPU_J, 0.4))]
    )
    return folder


def _measure(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["scope"]: row for row in rows if row["window"] == "measure"}


def test_results_by_hand(make_bundle: Make) -> None:
    rows = results_of(_measured(make_bundle))
    assert len(rows) == 3 * 2  # scopes total, gpu, package; windows load, measure
    assert list(rows[0]) == [column.name for column in RESULT_COLUMNS]
    gpu = _measure(rows)["gpu"]
    assert gpu["j_per_output_token"] == pytest.approx(GPU_J / TOKENS)
    assert gpu["ci_low"] == pytest.approx((GPU_J - T975_INFINITE * 0.3) / TOKENS)
    assert gpu["ci_high"] == pytest.approx((GPU_J + T975_INFINITE * 0.3) / TOKENS)
    assert gpu["j_per_input_token"] == pytest.approx(GPU_J / 10)
    assert gpu["j_per_total_token_ci_high"] == pytest.approx((GPU_J + T975_INFINITE * 0.3) / 16)
    assert gpu["j_per_request"] == pytest.approx(GPU_J / 2)
    assert gpu["wh_per_1000_requests"] == pytest.approx(GPU_J / 2 / 3.6)
    assert gpu["edp_js"] == pytest.approx(GPU_J / 2 * 0.31)
    assert gpu["mean_w"] == pytest.approx(100.0)
    assert gpu["output_tokens_per_s"] == pytest.approx(TOKENS / DURATION_S)
    assert gpu["cpu_s_per_output_token"] == pytest.approx(0.155 / TOKENS)
    assert (gpu["engine"], gpu["model"], gpu["load"], gpu["load_size"]) == ("fake", "tiny", "static", 2.0)
    assert (gpu["evidence"], gpu["method"], gpu["valid"], gpu["reason"]) == ("measured", "totals", True, None)
    assert _measure(rows)["package"]["evidence"] == "modelled"
    load = next(row for row in rows if row["window"] == "load" and row["scope"] == "total")
    assert (load["j_per_output_token"], load["reason"]) == (None, "no_reading")  # the ledger says nothing of this window


def test_every_column_is_documented() -> None:
    names = [column.name for column in RESULT_COLUMNS]
    assert len(set(names)) == len(names)
    assert all(column.meaning for column in RESULT_COLUMNS)
    assert "due" in next(column.meaning for column in RESULT_COLUMNS if column.name == "ttft_p50_ms")


def test_a_scope_of_several_domains_adds_by_the_budget(make_bundle: Make) -> None:
    def two_gpus(manifest: dict[str, Any], tables: dict[str, Any]) -> None:
        manifest["channels"][2].update(channel="n0/gpu1/energy", domain="n0/gpu1", scope="gpu", sensor="GPU-2")
        tables["samples"] = [row for row in tables["samples"] if row["channel"] != "n0/cpu0/energy"]

    def term(domain: str, term: str, source: str, du_j: float, dof: float | None = None, calibration: bool = False) -> BudgetRow:
        return BudgetRow("measure", domain, "total", "totals", "gross", term, source, du_j, dof, calibration)

    folder = make_bundle(two_gpus)
    budget = [
        term("n0/gpu0", "edges", "r/1", 0.3), term("n0/gpu1", "edges", "r/2", 0.4, dof=5.0),  # independent: 0.5
        term("n0/gpu0", "clock", "r/3", 0.5), term("n0/gpu1", "clock", "r/3", 0.7),  # one and the same: 1.2
        term("n0/gpu0", "gain", "GPU-1", 2.0, calibration=True), term("n0/gpu1", "gain", "GPU-2", 1.0, calibration=True),
    ]  # fmt: skip
    rows = [_row("n0/gpu0", 31.0, math.hypot(0.3, 0.5), u_total_j=2.1), _row("n0/gpu1", 3.0, math.hypot(0.4, 0.7), u_total_j=1.3)]
    write_ledgers(folder, [_totals(*rows, budget=budget)])
    gpu = _measure(results_of(folder))["gpu"]
    u = math.hypot(0.5, 1.2)
    dof = u**4 / (0.4**4 / 5.0)
    from scipy import stats

    assert gpu["joules"] == pytest.approx(34.0)
    assert gpu["ci_high"] * TOKENS == pytest.approx(34.0 + stats.t.ppf(0.975, dof) * u)
    total_u = math.sqrt(u**2 + 5.0)
    assert gpu["ci_total_low"] * TOKENS == pytest.approx(34.0 - stats.t.ppf(0.975, total_u**4 / (0.4**4 / 5.0)) * total_u)
    assert gpu["domains"] == ["n0/gpu0", "n0/gpu1"]
    assert gpu["mean_w"] == pytest.approx(34.0 / DURATION_S)
    assert gpu["peak_w"] is None


def test_one_missing_domain_makes_its_scope_null(make_bundle: Make) -> None:
    def two_gpus(manifest: dict[str, Any], tables: dict[str, Any]) -> None:
        manifest["channels"][2].update(channel="n0/gpu1/energy", domain="n0/gpu1", scope="gpu")
        tables["samples"] = [row for row in tables["samples"] if row["channel"] != "n0/cpu0/energy"]

    folder = make_bundle(two_gpus)
    write_ledgers(folder, [_totals(_row("n0/gpu0", 31.0, 0.3), _row("n0/gpu1", None, reason="gap", evidence=None))])
    gpu = _measure(results_of(folder))["gpu"]
    assert (gpu["joules"], gpu["j_per_output_token"], gpu["reason"]) == (None, None, "gap")


def test_devices_that_are_not_used_stay_out_of_results_and_in_the_balance(make_bundle: Make) -> None:
    folder = _measured(make_bundle, change=lambda manifest, _: [c.update(allocated=False) for c in manifest["channels"][:2]])
    assert sorted(_measure(results_of(folder))) == ["package", "total"]
    balance = {row["domain"]: row for row in results_of(folder, "energy_balance")}
    assert balance["n0/gpu0"]["allocated"] is False
    assert balance["n0/gpu0"]["total_j"] == GPU_J


def test_an_estimate_is_a_span_without_a_value(make_bundle: Make) -> None:
    def no_sensor(manifest: dict[str, Any], tables: dict[str, Any]) -> None:
        manifest["channels"] = manifest["channels"][3:]
        tables["samples"] = [row for row in tables["samples"] if row["channel"] == "n0/engine/cpu_s"]

    folder = make_bundle(no_sensor)
    rows = [
        _row(domain, None, ci_kind="span", evidence="estimated", derivation="modelled", reason="no_sensor", ci_low_j=2.0, ci_high_j=9.0)
        for domain in ("n0/engine", "total")
    ]
    write_ledgers(folder, [_totals(*rows)])
    results = _measure(results_of(folder))
    assert sorted(results) == ["process", "total"]
    for row in results.values():
        assert (row["j_per_output_token"], row["reason"], row["evidence"], row["ci_kind"]) == (None, "no_sensor", "estimated", "span")
        assert (row["ci_low"], row["ci_high"]) == (pytest.approx(2 / 6), pytest.approx(9 / 6))
        assert row["output_tokens"] == TOKENS


def test_without_a_sensor_there_is_a_row_that_says_so(make_bundle: Make) -> None:
    def nothing(manifest: dict[str, Any], tables: dict[str, Any]) -> None:
        manifest["channels"], tables["samples"] = [], []

    rows = _measure(results_of(make_bundle(nothing)))
    assert list(rows) == ["total"]
    assert (rows["total"]["j_per_output_token"], rows["total"]["reason"], rows["total"]["valid"]) == (None, "no_sensor", None)
    assert rows["total"]["ttft_p50_ms"] == pytest.approx(110.0)


def test_virtual_time_is_simulated_whatever_the_channels_say(make_bundle: Make) -> None:
    folder = _measured(make_bundle, change=lambda manifest, _: manifest["clock"].update(virtual=True))
    assert {row["evidence"] for row in results_of(folder) if row["joules"] is not None} == {"simulated"}
    assert {row["evidence"] for row in results_of(folder, "energy_balance")} == {"simulated"}


@pytest.mark.parametrize(("gate", "valid"), [(True, True), (False, False), (None, False)])
def test_a_gate_without_an_answer_fails(make_bundle: Make, gate: bool | None, valid: bool) -> None:
    folder = make_bundle()
    write_ledgers(folder, [_totals(_row("total", 1.0, 0.1), gate=gate)])
    assert {row["valid"] for row in results_of(folder)} == {valid}


def test_phases_and_balance(make_bundle: Make) -> None:
    folder = make_bundle()
    joules = {"total": 31.0, "prefill": 12.0, "decode": 18.0, "idle": 0.5, "unattributed": 0.5}
    rows = [_row("n0/gpu0", value, 0.1, phase) for phase, value in joules.items()]
    rest = [_row("n0/rest", 4.0, 0.1), _row("total", 35.0, 0.2)]
    write_ledgers(folder, [_totals(*rows, *rest)])
    phases = {row["phase"]: row for row in results_of(folder, "phases")}
    assert phases["prefill"]["j_per_token"] == pytest.approx(12.0 / 10)
    assert phases["decode"]["j_per_token"] == pytest.approx(18.0 / 6)
    assert phases["decode"]["share_of_total"] == pytest.approx(18 / 31)
    assert phases["idle"]["j_per_token"] is None
    balance = {row["domain"]: row for row in results_of(folder, "energy_balance")}
    assert balance["n0/gpu0"]["misfit_j"] == pytest.approx(0.0, abs=1e-12)
    assert (balance["n0/rest"]["scope"], balance["n0/rest"]["total_j"], balance["n0/rest"]["misfit_j"]) == ("rest", 4.0, None)


def test_study_results_take_valid_repeats_and_an_interval_between_runs(make_bundle: Make, tmp_path: Path) -> None:
    values = [30.0, 33.0, 36.0, 900.0]
    folders = []
    for number, joules in enumerate(values):

        def change(manifest: dict[str, Any], _: Any, number: int = number) -> None:
            manifest.update(run_id=f"r{number}", study={"study_id": "s", "point": "p", "arm": None, "repeat": number, "order": number})

        folder = make_bundle(change, f"r{number}")
        write_ledgers(folder, [_totals(_row("n0/gpu0", joules, 0.3), gate=joules < 100)])  # the last one is not valid
        folders.append(folder)
    database = tmp_path / "tpb.duckdb"
    ingest(folders, database)
    (row,) = query(database, "select * from study_results where scope='gpu' and window='measure'").to_pylist()
    mean, sd, t = 33.0 / 6, 3.0 / 6, 4.302652729911275  # t for 2 degrees of freedom, from a printed table: 4.303
    assert (row["runs"], row["repeats"]) == (4, 3)
    assert row["j_per_output_token"] == pytest.approx(mean)
    assert row["ci_low"] == pytest.approx(mean - t * sd / math.sqrt(3))
    assert row["ci_high"] == pytest.approx(mean + t * sd / math.sqrt(3))
    assert row["ci_kind"] == "between_runs"
