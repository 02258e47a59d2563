"""Several engines in one table: what they computed with, what they counted, and what is named because it differs."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from tpb_core.report.run_facts import RunFacts
from tpb_core.report.study_engines import engine_cells, engine_remarks, phase_seconds
from tpb_core.report.study_table import study_table

MS = 1_000_000


def _engine(name: str, dtype: str, **options: Any) -> Any:
    def change(manifest: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> None:
        manifest["engine"].update(name=name, dtype=dtype)
        manifest["config"] = {"engine": {"name": name, **options}, "load": {"requests": 10}}
        manifest["step_log"] = {"available": True, "members": False, "reason": None}
        # 600 ms of prefill, then two steps of 2 s each; one before the window
        spans = [(100, 800, 50, 0), (1000, 1600, 50, 0), (2000, 4000, 0, 10), (4000, 6000, 0, 10)]
        tables["steps"] = [
            {"step": n, "instance": "0", "t0_ns": t0 * MS, "t1_ns": t1 * MS, "time_source": "host", "prefill_tokens": prefill,
             "decode_tokens": decode, "emitted_tokens": 10}
            for n, (t0, t1, prefill, decode) in enumerate(spans)
        ]  # fmt: skip

    return change


def _text(runs: list[RunFacts]) -> str:
    console = Console(width=220)
    with console.capture() as captured:
        console.print(study_table(runs))
    return captured.get()


def test_engines_with_equal_work_stand_in_one_table_without_a_remark(make_run: Any) -> None:
    runs = [
        RunFacts.read(make_run("one", change=_engine("llamacpp", "F32", threads=2, flash_attention=None))),
        RunFacts.read(make_run("other", change=_engine("hf", "float32", attention="sdpa"))),
    ]
    assert engine_cells(runs[0]) == ["float32", "none", "1,000", "510", "0.600", "4.00"]
    header, first, second = _text(runs).splitlines()
    assert "engine.name" in header and "input tokens" in header
    assert "threads" not in header and "attention" not in header, "options of one engine of several are no axis"
    assert first.startswith("llamacpp") and second.startswith("hf")
    assert list(engine_remarks(runs)) == []


def test_another_type_of_number_and_other_counts_are_named(make_run: Any) -> None:
    fewer = ((100.0, 10.0, 51),) * 9 + ((100.0, 10.0, 50),)
    runs = [
        RunFacts.read(make_run("one", change=_engine("llamacpp", "F16"))),
        RunFacts.read(make_run("other", change=_engine("vllm", "torch.bfloat16"), latencies=fewer)),
    ]
    dtypes, outputs = engine_remarks(runs)
    assert "llamacpp float16, vllm bfloat16" in dtypes
    assert "output tokens: llamacpp 510, vllm 509" in outputs


def test_steps_that_do_both_have_no_seconds_of_one_phase(make_run: Any) -> None:
    def mixed(manifest: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> None:
        _engine("hf", "float32")(manifest, tables)
        tables["steps"][2]["prefill_tokens"] = 5

    assert phase_seconds(RunFacts.read(make_run("mixed", change=mixed))) == (None, None)


def test_one_engine_keeps_its_options_as_axes(make_run: Any) -> None:
    runs = [RunFacts.read(make_run(f"t{n}", change=_engine("llamacpp", "F16", threads=n))) for n in (1, 2)]
    header = _text(runs).splitlines()[0]
    assert "engine.threads" in header and "input tokens" not in header
    assert list(engine_remarks(runs)) == []


def test_a_run_without_a_step_log_has_no_seconds_of_a_phase(make_run: Any) -> None:
    assert phase_seconds(RunFacts.read(make_run("bare"))) == (None, None)
