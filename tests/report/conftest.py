"""Small runs by hand whose energies and budgets are written down, so that ratios can be worked out on paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tpb_core.api.ledger import BudgetRow, EnergyRow, Ledger, ValidityRow
from tpb_core.store.ledger import write_ledgers
from tpb_core.store.schema import lenient

MS = 1_000_000
Term = tuple[str, str, float, float | None, bool]
"""term, source, du_j, dof, calibration."""
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run(name, ...)`: a complete run of 10 s from 1 s to 11 s with a GPU counter, in `runs/<name>`. See `_write`."""

    def make(name: str, **given: Any) -> Path:
        return _write(tmp_path / "runs" / name, name, **given)

    return make


def _write(
    folder: Path,
    name: str,
    *,
    joules: float | None = 1000.0,
    terms: Sequence[Term] = (),
    calibrated: bool = True,
    sensor: str | None = "GPU-1",
    latencies: Sequence[tuple[float, float, int]] = ((100.0, 10.0, 51),) * 10,
    statuses: Sequence[str] | None = None,
    phases: dict[str, float] | None = None,
    phase_method: str = "windowed",
    virtual: bool = False,
    evidence: str = "measured",
    failed_gate: str | None = None,
    attributed: bool = True,
    study: dict[str, Any] | None = None,
    change: Callable[[dict[str, Any], dict[str, list[dict[str, Any]]]], None] | None = None,
    extra_domains: Sequence[tuple[str, str, float]] = (),
) -> Path:
    """`latencies`: TTFT in ms, TPOT in ms and output tokens of each request, all due at 1 s. `phases`: prefill and decode joules."""
    statuses = statuses or ["ok"] * len(latencies)
    requests = [_request(n, *each, status) for n, (each, status) in enumerate(zip(latencies, statuses, strict=True))]
    tables: dict[str, list[dict[str, Any]]] = {
        "samples": [
            {"channel": "n0/gpu0/energy", "t_ns": tick * 100 * MS, "half_width_ns": 1000, "value": tick * 10.0} for tick in range(121)
        ],
        "requests": requests,
        "windows": [{"window": "load", "t0_ns": 0, "t1_ns": 900 * MS}, {"window": "measure", "t0_ns": 1000 * MS, "t1_ns": 11000 * MS}],
        "events": [],
    }
    manifest = _manifest(name, sensor, calibrated, virtual, evidence, study)
    manifest["channels"] += [
        _channel(f"{domain}/energy", domain, scope, f"S-{scope}", calibrated, evidence) for domain, scope, _ in extra_domains
    ]
    if change is not None:
        change(manifest, tables)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for table, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=lenient(table)), folder / f"{table}.parquet")
    if attributed:
        domains = [("n0/gpu0", "gpu", joules), *extra_domains]
        total = None if joules is None else sum(each for _, _, each in domains if each is not None)
        ledgers = [_ledger("totals", domains, total, terms, calibrated, evidence, failed_gate)]
        if phases is not None and total is not None:
            ledgers.append(_phase_ledger(phase_method, total, phases, evidence))
        write_ledgers(folder, ledgers)
    return folder


def _request(number: int, ttft_ms: float, tpot_ms: float, tokens: int, status: str) -> dict[str, Any]:
    due = 1000 * MS
    first = due + round(ttft_ms * MS)
    stamps = [first + round(n * tpot_ms * MS) for n in range(tokens)]
    ended = status == "ok"
    return {
        "request": number, "request_id": f"r{number}", "prompt_id": f"p{number}", "role": "measured", "due_ns": due, "submitted_ns": due,
        "first_token_ns": first if ended else None, "finished_ns": stamps[-1] if ended else due + 2000 * MS, "input_tokens": 100,
        "cached_tokens": 0, "output_tokens": tokens if ended else 0, "sequences": 1, "preemptions": 0, "status": status,
        "token_ns": stamps if ended else [],
    }  # fmt: skip


def _channel(name: str, domain: str, scope: str, sensor: str | None, calibrated: bool, evidence: str) -> dict[str, Any]:
    known = {"gain_u_rel": 0.037, "offset_u_w": 0.0} if calibrated else {}
    return {
        "channel": name, "domain": domain, "parent": "n0", "scope": scope, "kind": "energy_counter", "unit": "J", "node": "n0",
        "allocated": True, "meter": "m", "evidence": evidence, "sensor": sensor, "role": "primary", "wrap": 0.0, **known,
    }  # fmt: skip


def _manifest(
    name: str, sensor: str | None, calibrated: bool, virtual: bool, evidence: str, study: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "format": "tpb-run",
        "version": "1.0",
        "run_id": name,
        "status": "complete",
        "study": study or {"study_id": f"s-{name}", "point": f"point-{name}", "arm": "0", "repeat": 0, "order": 0},
        "started_utc": "2026-01-01T00:00:00Z",
        "clock": {"virtual": virtual, "anchors": []},
        "nodes": [{"node": "n0", "hostname": "h", "anchors": []}],
        "channels": [_channel("n0/gpu0/energy", "n0/gpu0", "gpu", sensor, calibrated, evidence)],
        "engine": {"name": "fake", "version": "1", "model": {"name": "tiny"}, "requested": {}, "effective": {}},
        "step_log": {"available": False, "members": False, "reason": "no_step_log"},
        "load": {"shape": "closed", "parameters": {"concurrency": 8}, "seed": 0},
        "environment": {"machine_id": "m0", "packages": {}},
        "choices": {"engine": "fake", "meter": ["m"], "load": "closed"},
        "config": {},
    }


def _ledger(
    method: str,
    domains: Sequence[tuple[str, str, float | None]],
    total: float | None,
    terms: Sequence[Term],
    calibrated: bool,
    evidence: str,
    failed_gate: str | None,
) -> Ledger:
    ledger = Ledger(method, "1")
    u_within = sum(du**2 for _, _, du, _, calibration in terms if not calibration) ** 0.5
    u_total = sum(du**2 for _, _, du, _, _ in terms) ** 0.5
    named = [*((domain, [scope], joules) for domain, scope, joules in domains), ("total", [scope for _, scope, _ in domains], total)]
    for domain, scopes, joules in named:
        known = {"u_without_calibration_j": u_within, "u_total_j": u_total if calibrated else None} if joules is not None else {}
        ledger.energy.append(
            EnergyRow(
                "measure", domain, "total", method, "gross", joules=joules, scopes=scopes, evidence=evidence, derivation="metered",
                reason=None if joules is not None else "gap", **known,
            )
        )  # fmt: skip
        ledger.energy.append(
            EnergyRow(
                "measure",
                domain,
                "unattributed",
                method,
                "gross",
                joules=joules,
                evidence=evidence,
                reason=None if joules is not None else "gap",
            )
        )
        if joules is not None:
            ledger.budget += [
                BudgetRow("measure", domain, phase, method, "gross", term, source, du, dof, calibration)
                for phase in ("total", "unattributed")
                for term, source, du, dof, calibration in terms
            ]
    ledger.validity.append(ValidityRow("no_gap", True, True, value=0.0, limit=0.01, unit="1"))
    if failed_gate is not None:
        ledger.validity.append(ValidityRow(failed_gate, False, True, value=1.0, limit=0.0, unit="1"))
    return ledger


def _phase_ledger(method: str, total: float, phases: dict[str, float], evidence: str) -> Ledger:
    ledger = Ledger(method, "1")
    rest = {"unattributed": total - sum(phases.values())}
    for phase, joules in {"total": total, **phases, **rest}.items():
        ledger.energy.append(
            EnergyRow(
                "measure", "total", phase, method, "gross", joules=joules, u_without_calibration_j=1.0, u_total_j=2.0, scopes=["gpu"],
                evidence=evidence, derivation="modelled",
            )
        )  # fmt: skip
        ledger.budget.append(BudgetRow("measure", "total", phase, method, "gross", "fit", f"{method}/1", 1.0))
    return ledger
