"""Several engines in one study: what must be equal before their figures can stand side by side, and where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq

from tpb_core.report.rounding import MISSING, significant
from tpb_core.report.run_facts import RunFacts

HEADERS = ("dtype", "quantized", "input tokens", "output tokens", "prefill (s)", "decode (s)")
_DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "fp32": "float32", "fp16": "float16", "all f32": "float32"}
"""Engines name the same type of number differently."""


def several_engines(runs: Sequence[RunFacts]) -> bool:
    """Whether the study compares engines."""
    return len({run.manifest["engine"]["name"] for run in runs}) > 1


def engine_cells(run: RunFacts) -> list[str]:
    """What the engine really computed with, the tokens that it counted, and the time that it spent in steps of one phase."""
    engine = run.manifest["engine"]
    total = run.result() or {}
    counts = [MISSING if total.get(name) is None else f"{total[name]:,}" for name in ("input_tokens", "output_tokens")]
    phases = [MISSING if seconds is None else significant(seconds, 3) for seconds in phase_seconds(run)]
    return [_dtype(engine) or MISSING, str(engine.get("quantization") or "none"), *counts, *phases]


def phase_seconds(run: RunFacts) -> tuple[float | None, float | None]:
    """Seconds of `measure` in steps that only prefill, and in steps that only decode; None without a step log, or where steps do both."""
    path = run.bundle / "steps.parquet"
    windows = pq.read_table(run.bundle / "windows.parquet", columns=["window", "t0_ns", "t1_ns"]).to_pylist()
    window = next((row for row in windows if row["window"] == "measure" and row["t1_ns"] is not None), None)
    if not path.exists() or window is None:
        return None, None
    steps = pq.read_table(path, columns=["t0_ns", "t1_ns", "prefill_tokens", "decode_tokens"]).to_pylist()
    inside = [step for step in steps if step["t0_ns"] >= window["t0_ns"] and step["t1_ns"] <= window["t1_ns"]]
    if not inside or any(step["prefill_tokens"] and step["decode_tokens"] for step in inside):
        return None, None
    prefill_s, decode_s = (
        sum(step["t1_ns"] - step["t0_ns"] for step in inside if step[name]) / 1e9 for name in ("prefill_tokens", "decode_tokens")
    )
    return prefill_s, decode_s


def engine_remarks(runs: Sequence[RunFacts]) -> Iterator[str]:
    """What differs between the engines although it should not: types of numbers, and tokens of the same requests."""
    if not several_engines(runs):
        return
    dtypes = {run.manifest["engine"]["name"]: _dtype(run.manifest["engine"]) for run in runs}
    if len(set(dtypes.values())) > 1:
        listed = ", ".join(f"{name} {dtype or 'unknown'}" for name, dtype in dtypes.items())
        yield f"The engines did not compute with the same type of number: {listed}."
    for column, noun in (("input_tokens", "input"), ("output_tokens", "output")):
        counted = {run.manifest["engine"]["name"]: (run.result() or {}).get(column) for run in runs}
        if len(set(counted.values())) > 1:
            listed = ", ".join(f"{name} {count if count is not None else 'unknown'}" for name, count in counted.items())
            yield f"The engines did not count the same {noun} tokens: {listed}."


def _dtype(engine: dict[str, Any]) -> str | None:
    name = engine.get("dtype")
    return None if name is None else _DTYPES.get(str(name).lower(), str(name).lower().removeprefix("torch."))
