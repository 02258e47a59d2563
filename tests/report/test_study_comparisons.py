"""Comparing two studies of pairs: ratios of prefill and decode from differencing, in which only errors of the same sensor cancel."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tpb_core.api.ledger import BudgetRow, EnergyRow, Ledger
from tpb_core.cli.main import main
from tpb_core.store.database import ingest
from tpb_core.store.ledger import write_ledgers

MakeRun = Callable[..., Path]
MANY, SINGLE = ((100.0, 10.0, 51),) * 10, ((100.0, 10.0, 1),) * 10
T975_4 = 2.7764451051977934  # Student's t, 4 degrees of freedom: printed tables have 2.776


def study_of_pairs(
    make_run: MakeRun, name: str, decode_j: float, *, sensor: str = "GPU-1", gain_u: float = 0.04, invalid: bool = False, said: bool = True
) -> Path:
    """Five pairs of 10 requests with 100 input and 51 (or one) output tokens; decode by differencing with u = 1 % between pairs."""
    runs = []
    for repeat in range(5):
        for arm, latencies, joules in (("many", MANY, 1000.0 + decode_j), ("one", SINGLE, 1000.0)):
            study = {"study_id": name, "point": f"{name}-{arm}", "arm": "0", "repeat": repeat, "order": 2 * repeat}
            failed = "no_throttling" if invalid and repeat == 0 and arm == "one" else None
            runs.append(
                make_run(f"{name}-{arm}{repeat}", joules=joules, latencies=latencies, sensor=sensor, study=study, failed_gate=failed)
            )
    ledger = Ledger(
        "differencing", "1", {"pairs": 5} | ({"runs": [run.name for run in runs]} if said else {}), point=f"{name}-many", arm="0"
    )
    for phase, joules in (("prefill", 1000.0), ("decode", decode_j), ("total", 1000.0 + decode_j)):
        between, gain = 0.01 * joules, gain_u * joules
        ledger.energy.append(
            EnergyRow(
                "measure", "total", phase, "differencing", "gross", joules=joules, u_without_calibration_j=between, dof=4.0,
                u_total_j=math.hypot(between, gain), ci_kind="between_runs", evidence="measured", derivation="metered",
            )
        )  # fmt: skip
        row = ("measure", "total", phase, "differencing", "gross")
        ledger.budget.append(BudgetRow(*row, "between_runs", f"{name}/{name}-many/{phase}", between, dof=4.0))
        ledger.budget.append(BudgetRow(*row, "gain", sensor, gain, calibration=True))
    write_ledgers(runs[0].parent / "studies" / name, [ledger])
    return runs[0].parent


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, str]]:
    assert main(["compare", *words, "--format", "csv"]) == 0
    return {row["figure"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}


@pytest.fixture
def in_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ingested(folder: Path) -> None:
    runs = [path for path in folder.iterdir() if (path / "manifest.json").exists()]
    ingest(runs, folder / "tpb.duckdb", studies=list((folder / "studies").iterdir()))


def test_gain_cancels_where_the_sensor_is_the_same(make_run: MakeRun, in_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """2000 J over 510 tokens against 1500 J: each known to 1 % with 4 degrees of freedom, so the logarithm to sqrt(2) % with 8."""
    study_of_pairs(make_run, "a", 2000.0)
    ingested(study_of_pairs(make_run, "b", 1500.0))
    row = compared(capsys, "a", "b")["decode, J per output token"]
    assert (float(row["base_value"]), float(row["other_value"])) == (pytest.approx(2000 / 510), pytest.approx(1500 / 510))
    assert float(row["ratio"]) == pytest.approx(0.75)
    t975_8 = 2.306004135204166
    assert float(row["ci_low"]) == pytest.approx(0.75 * math.exp(-t975_8 * math.sqrt(2) * 0.01))
    assert float(row["ci_total_high"]) == pytest.approx(0.75 * math.exp(t975_8 * math.sqrt(2) * 0.01))
    assert (row["method"], row["ci_kind"], row["verdict"]) == ("differencing", "between_runs", "lower")


def test_gains_of_two_sensors_do_not_cancel(make_run: MakeRun, in_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two gains of 4 % each: the total u of the logarithm is sqrt(2) * sqrt(0.01^2 + 0.04^2), 5.8 %: 1.05 cannot be told from 1."""
    study_of_pairs(make_run, "a", 2000.0)
    ingested(study_of_pairs(make_run, "b", 2100.0, sensor="GPU-2"))
    row = compared(capsys, "a", "b")["decode, J per output token"]
    assert float(row["ci_low"]) > 1.0
    u = math.sqrt(2 * (0.01**2 + 0.04**2))
    dof = u**4 / (2 * 0.01**4 / 4)
    assert float(row["total_dof"]) == pytest.approx(dof)
    assert math.log(float(row["ci_total_high"]) / 1.05) == pytest.approx(1.96 * u, rel=0.01)
    assert row["verdict"] == "no difference shown"


def test_runs_with_one_token_are_in_no_line_of_their_own(make_run: MakeRun, in_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_of_pairs(make_run, "a", 2000.0)
    ingested(study_of_pairs(make_run, "b", 1500.0))
    row = compared(capsys, "a", "b")["J per output token"]
    assert float(row["base_value"]) == pytest.approx(3000 / 510)
    assert float(row["ratio"]) == pytest.approx(2500 / 3000)
    assert (row["base_runs"], row["other_runs"]) == ("5", "5")


def test_folders_and_one_phase(make_run: MakeRun, in_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_of_pairs(make_run, "a", 2000.0)
    ingested(study_of_pairs(make_run, "b", 1500.0))
    assert set(compared(capsys, "runs/studies/a", "study_id = 'b'", "--phase", "prefill")) == {"prefill, J per input token"}


def test_a_study_with_a_run_that_is_left_out_takes_no_part_and_says_so(
    make_run: MakeRun, in_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_of_pairs(make_run, "a", 2000.0)
    ingested(study_of_pairs(make_run, "b", 1500.0, invalid=True))
    row = compared(capsys, "a", "b")["decode, J per output token"]
    assert (row["ratio"], row["reason"]) == ("", "methods_differ: differencing / none")
    assert main(["compare", "a", "b"]) == 0
    assert "What differencing found over the study b takes no part: b-one0 entered it and is left out." in capsys.readouterr().out
    assert compared(capsys, "a", "b", "--with-invalid")["decode, J per output token"]["verdict"] == "lower"


def test_two_points_on_a_side_are_not_averaged(make_run: MakeRun, in_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, joules in (("a", 2000.0), ("b", 1500.0), ("c", 1000.0)):
        folder = study_of_pairs(make_run, name, joules)
    ingested(folder)
    row = compared(capsys, "a", "b,c")["decode, J per output token"]
    assert row["ratio"] == ""
    assert row["reason"].startswith("several_points")


def test_an_old_study_that_does_not_name_its_runs_is_not_used(make_run: MakeRun, in_runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_of_pairs(make_run, "a", 2000.0)
    ingested(study_of_pairs(make_run, "b", 1500.0, said=False))
    assert main(["compare", "a", "b"]) == 0
    assert "it does not say which runs entered" in " ".join(capsys.readouterr().out.split())


def test_two_simulated_studies_typed_by_a_user(in_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`+experiment=phases` with batches of 4 and of 8: decode of twice the batch costs less a token; both are one simulated sensor."""
    monkeypatch.setenv("XDG_DATA_HOME", str(in_runs / "data"))
    quick = ["+experiment=phases", "+engine=sim", "+meter=sim", "run.repeats=3", "run.warmup_rounds=0", "run.idle_s=2"]
    studies = []
    for size in (4, 8):
        assert main([*quick, f"load.batch_size={size}", "load.requests=32"]) == 0
        studies.append(next(path.name for path in (in_runs / "runs/studies").iterdir() if path.name not in studies))
    capsys.readouterr()
    rows = compared(capsys, *studies, "--with-invalid")
    decode, prefill = (
        next(row for name, row in rows.items() if name.startswith(phase) and "differencing" in name) for phase in ("decode", "prefill")
    )
    for row in (decode, prefill):
        within = float(row["ci_high"]) - float(row["ci_low"])
        total = float(row["ci_total_high"]) - float(row["ci_total_low"])
        assert total < 1.5 * within + 0.02  # a gain known to 3.7 % would add 0.07 on its own
    assert float(decode["ci_total_high"]) < 0.7
    assert 0.8 < float(prefill["ratio"]) < 1.2
