"""How long it takes to put 1,000 small bundles into the database, and to ask a database of 10,000 runs.

    python bench/ingestion.py [--bundles 1000] [--runs 10000] [--queries 15]

Limits: ingestion under 60 s; the upper 95 % bound of the median query, opening the database included, under 100 ms.
Ingestion is also given as a ratio to a plain copy of the same files, which says what the disk itself takes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tpb_core.api.ledger import BudgetRow, EnergyRow, Ledger, ValidityRow
from tpb_core.store.bundle import Bundle
from tpb_core.store.connection import opened, put
from tpb_core.store.database import ingest
from tpb_core.store.database_rows import Rows, rows_of
from tpb_core.store.ledger import write_ledgers
from tpb_core.store.query import query
from tpb_core.store.schema import lenient

INGESTION_LIMIT_S = 60.0
QUERY_LIMIT_S = 0.1
QUESTION = "select engine, model, j_per_output_token, ci_low, ci_high from results where scope = 'gpu' and window = 'measure' and valid"
MS = 1_000_000


def main() -> int:
    """Print the figures; exit code 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundles", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=15)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ingestion_s = _ingestion_s(folder, asked.bundles)
        query_s = _query_s(folder, asked.runs, asked.queries)
    limit_s = INGESTION_LIMIT_S * asked.bundles / 1_000
    good = ingestion_s <= limit_s and query_s <= QUERY_LIMIT_S
    print("within the limits" if good else "a limit is missed")
    return 0 if good else 1


def _ingestion_s(folder: Path, count: int) -> float:
    model = _bundle(folder / "model")
    manifest = json.loads((model / "manifest.json").read_text())
    start = time.perf_counter()
    bundles = []
    for number in range(count):
        bundle = shutil.copytree(model, folder / "runs" / f"r{number:06}")
        (bundle / "manifest.json").write_text(json.dumps({**manifest, "run_id": bundle.name}))
        bundles.append(bundle)
    copy_s = time.perf_counter() - start
    start, cpu_start = time.perf_counter(), time.process_time()
    report = ingest(bundles, folder / "runs" / "tpb.duckdb")
    taken_s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
    assert len(report.ingested) == count, report.refused
    print(f"ingestion of {count} bundles: {taken_s:.1f} s, CPU {cpu_s:.1f} s ({taken_s / copy_s:.1f} times a copy of the files)")
    return taken_s


def _query_s(folder: Path, runs: int, queries: int) -> float:
    """The upper end of a 95 % interval of the median (order statistics) over the queries."""
    database = folder / "many.duckdb"
    rows = rows_of(Bundle.open(folder / "model"))
    with opened(database, wait_s=1, read_only=False) as connection:
        for start in range(0, runs, 500):
            names = [f"r{number:06}" for number in range(start, min(start + 500, runs))]
            put(connection, "run_id", names, [_renamed(rows, name) for name in names])
    times = []
    cpu_start = time.process_time()
    for _ in range(queries):
        begin = time.perf_counter()
        answer = query(database, QUESTION)
        times.append(time.perf_counter() - begin)
        assert answer.num_rows == runs
    ordered = sorted(times)
    upper = ordered[min(len(ordered) - 1, int(np.ceil(len(ordered) / 2 + 0.98 * np.sqrt(len(ordered)))))]
    cpu_ms = (time.process_time() - cpu_start) / len(times) * 1e3
    median_ms = statistics.median(times) * 1e3
    print(f"query over {runs} runs: median {median_ms:.0f} ms, upper bound {upper * 1e3:.0f} ms, CPU {cpu_ms:.0f} ms, of {queries}")
    return upper


def _renamed(rows: Rows, run_id: str) -> Rows:
    return {table: content.set_column(0, "run_id", pa.repeat(pa.scalar(run_id), content.num_rows)) for table, content in rows.items()}


def _bundle(folder: Path) -> Path:
    """A small run as the default command makes it: 32 requests of 64 tokens in batches of 4, 30 s of two channels at 10 Hz."""
    folder.mkdir()
    channel = {"parent": "n0", "node": "n0", "allocated": True, "kind": "energy_counter", "unit": "J", "evidence": "measured", "meter": "m"}
    manifest = {
        "format": "tpb-run", "version": "1.0", "run_id": "model", "status": "complete",
        "study": {"study_id": "s", "point": "p", "repeat": 0},
        "started_utc": "2026-01-01T00:00:00Z", "clock": {"virtual": False, "anchors": []},
        "engine": {"name": "fake", "version": "1", "model": {"name": "tiny"}}, "load": {"shape": "static", "parameters": {"batch_size": 4}},
        "channels": [
            {**channel, "channel": "n0/gpu0/energy", "domain": "n0/gpu0", "scope": "gpu"},
            {**channel, "channel": "n0/cpu0/energy", "domain": "n0/cpu0", "scope": "package"},
        ],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    samples = [
        {"channel": f"n0/{domain}/energy", "t_ns": tick * 100 * MS, "half_width_ns": 1000, "value": tick * 10.0}
        for tick in range(300)
        for domain in ("gpu0", "cpu0")
    ]
    steps, requests = _work()
    names = ("load", "warmup", "idle_loaded_before", "measure", "steady", "idle_loaded_after")
    windows = [{"window": name, "t0_ns": number * 4_000 * MS, "t1_ns": (number + 1) * 4_000 * MS} for number, name in enumerate(names)]
    for table, content in {"samples": samples, "steps": steps, "requests": requests, "windows": windows}.items():
        pq.write_table(pa.Table.from_pylist(content, schema=lenient(table)), folder / f"{table}.parquet")
    write_ledgers(folder, [_ledger(method, names) for method in ("totals", "windowed")])
    return folder


def _work() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Steps and requests within `measure`, from 12 s on: each batch has one prefill and 63 decode steps of 5 ms."""
    steps: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    now = 12_000 * MS
    for batch in range(8):
        members = range(4 * batch, 4 * batch + 4)
        begin, stamps = now, []
        for token in range(64):
            first = token == 0
            steps.append({
                "step": len(steps), "instance": "0", "t0_ns": now, "t1_ns": now + 5 * MS, "prefill_tokens": 400 if first else 0,
                "decode_tokens": 0 if first else 4, "emitted_tokens": 4,
                "members": [
                    {"request": request, "prefill_tokens": 100 if first else 0, "decode_tokens": 0 if first else 1, "emitted_tokens": 1,
                     "kv_tokens": 0 if first else 99 + token}
                    for request in members
                ],
            })  # fmt: skip
            now += 5 * MS
            stamps.append(now)
        requests += [
            {"request": request, "request_id": f"q{request}", "role": "measured", "submitted_ns": begin, "first_token_ns": stamps[0],
             "finished_ns": now, "input_tokens": 100, "cached_tokens": 0, "output_tokens": 64, "preemptions": 0, "status": "ok",
             "token_ns": stamps}
            for request in members
        ]  # fmt: skip
    return steps, requests


def _ledger(method: str, windows: tuple[str, ...]) -> Ledger:
    ledger = Ledger(method, "1", validity=[ValidityRow(f"check {number}", True, True) for number in range(10)])
    joules = {"total": 40.0, "prefill": 10.0, "decode": 25.0, "idle": 4.0, "unattributed": 1.0}
    for window in windows:
        for domain in ("n0/gpu0", "n0/cpu0", "total"):
            for basis in ("gross", "net_loaded", "net_bare"):
                for phase, value in joules.items():
                    ledger.energy.append(EnergyRow(
                        window, domain, phase, method, basis, value, u_without_calibration_j=0.1, ci_low_j=value - 0.2,
                        ci_high_j=value + 0.2, ci_kind="within_run", evidence="measured", derivation="metered",
                    ))  # fmt: skip
                    ledger.budget += [BudgetRow(window, domain, phase, method, basis, term, "GPU-1", 0.05) for term in ("gain", "edges")]
    return ledger


if __name__ == "__main__":
    sys.exit(main())
