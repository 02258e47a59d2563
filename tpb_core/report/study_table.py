"""A line for each run of a study, with what was varied first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from tpb_core.report.rounding import MISSING, significant, span, with_interval
from tpb_core.report.run_facts import RunFacts
from tpb_core.report.study_engines import HEADERS, engine_cells, several_engines


def study_table(runs: Sequence[RunFacts]) -> Table:
    """Runs in the order of the plan. Estimates are marked and never stand as a value."""
    varied = _varied([_flat(run.manifest.get("config") or {}) for run in runs])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in [*varied, "repeat", "status"]:
        table.add_column(name)
    engines = several_engines(runs)
    for name in HEADERS if engines else ():
        table.add_column(name, justify="left" if name in HEADERS[:2] else "right")
    for name in ("tokens/s", "TTFT p50 (ms)", "TPOT p50 (ms)", "J/output token"):
        table.add_column(name, justify="right")
    for name in ("95 % interval", "evidence", "valid"):
        table.add_column(name)
    for run in runs:
        table.add_row(*(Text(cell) for cell in _cells(run, varied, engines=engines)))
    return table


def _cells(run: RunFacts, varied: list[str], *, engines: bool) -> list[str]:
    config = _flat(run.manifest.get("config") or {})
    total = run.result() or {}
    begin = [*(str(config.get(key, "")) for key in varied), str(run.manifest["study"]["repeat"]), run.manifest["status"]]
    begin += engine_cells(run) if engines else []
    performance = [_short(total.get(key)) for key in ("output_tokens_per_s", "ttft_p50_ms", "tpot_p50_ms")]
    return [*begin, *performance, *_energy(total), str(total.get("evidence") or MISSING), _verdict(total.get("valid"))]


def _energy(total: dict[str, Any]) -> tuple[str, str]:
    value, low, high = (total.get(key) for key in ("j_per_output_token", "ci_low", "ci_high"))
    if value is not None:
        return with_interval(value, low, high)
    if low is not None and high is not None:
        return MISSING, f"estimate: {span(low, high)}"
    return MISSING, str(total.get("reason") or MISSING)


def _verdict(valid: bool | None) -> str:
    return MISSING if valid is None else "yes" if valid else "no"


def _short(value: float | None) -> str:
    return MISSING if value is None else significant(value, 3)


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _varied(configs: list[dict[str, Any]]) -> list[str]:
    """Options that are not the same in all runs; what only says where results go, or belongs to one engine of several, is none."""
    keys = dict.fromkeys(key for config in configs for key in config if not key.startswith("out."))
    varied = [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]
    if "engine.name" in varied:
        return ["engine.name", *(key for key in varied if not key.startswith("engine."))]
    return varied
