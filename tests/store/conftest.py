"""A small bundle by hand, as another program would write it: every figure in it is written down here."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tpb_core.store.schema import lenient

Tables = dict[str, list[dict[str, Any]]]
MS = 1_000_000


def _channel(name: str, domain: str, parent: str | None, scope: str, kind: str, **more: Any) -> dict[str, Any]:
    unit = {"energy_counter": "J", "power": "W", "time_counter": "s"}[kind]
    base = {
        "channel": name,
        "domain": domain,
        "parent": parent,
        "scope": scope,
        "kind": kind,
        "unit": unit,
        "node": "n0",
        "allocated": True,
    }
    return {**base, "meter": "m", "evidence": "measured", **more}


MANIFEST: dict[str, Any] = {
    "format": "tpb-run",
    "version": "1.0",
    "run_id": "20260101T000000000Z-00000001",
    "status": "complete",
    "status_reason": None,
    "study": {"study_id": "s1", "point": "p1", "arm": None, "repeat": 0, "order": 0},
    "started_utc": "2026-01-01T00:00:00.000000Z",
    "finished_utc": "2026-01-01T00:01:00.000000Z",
    "clock": {"virtual": False, "anchors": [{"run_ns": 0, "realtime_ns": 1_767_225_600_000_000_000}]},
    "nodes": [{"node": "n0", "hostname": "h", "anchors": []}],
    "channels": [
        _channel("n0/gpu0/energy", "n0/gpu0", "n0", "gpu", "energy_counter", sensor="GPU-1"),
        _channel("n0/gpu0/power", "n0/gpu0", "n0", "gpu", "power", sensor="GPU-1"),
        _channel("n0/cpu0/energy", "n0/cpu0", "n0", "package", "energy_counter"),
        _channel("n0/engine/cpu_s", "n0/engine", "n0", "process", "time_counter"),
    ],
    "engine": {
        "name": "fake",
        "version": "1",
        "model": {"name": "tiny", "total_parameters": 1000},
        "dtype": "f16",
        "instances": [{"instance": "0", "role": "mixed", "node": "n0", "devices": ["GPU-1"]}],
    },
    "step_log": {"available": True, "members": True, "reason": None},
    "load": {"shape": "static", "parameters": {"batch_size": 2, "requests": 2}, "seed": 0},
    "choices": {"engine": "fake", "meter": ["m"], "load": "static"},
    "config": {},
}


def _member(request: int, prefill: int, decode: int, emitted: int, kv: int) -> dict[str, int]:
    return {"request": request, "prefill_tokens": prefill, "decode_tokens": decode, "emitted_tokens": emitted, "kv_tokens": kv}


def tables() -> Tables:
    """Two requests of 4 and 6 input tokens and 3 output tokens each, in one prefill and two decode steps from 1000 ms to 1300 ms."""
    samples = []
    for tick in range(0, 3001, 100):  # 100 W on the GPU, 10 W on the package, half a core busy
        for channel, value in (("n0/gpu0/energy", tick * 0.1), ("n0/gpu0/power", 100.0), ("n0/cpu0/energy", tick * 0.01)):
            samples.append({"channel": channel, "t_ns": tick * MS, "half_width_ns": 1000, "value": value})
        samples.append({"channel": "n0/engine/cpu_s", "t_ns": tick * MS, "half_width_ns": 1000, "value": tick * 0.0005})
    steps = [
        {"t0_ns": 1000 * MS, "t1_ns": 1100 * MS, "prefill_tokens": 10, "decode_tokens": 0, "emitted_tokens": 2,
         "members": [_member(0, 4, 0, 1, 0), _member(1, 6, 0, 1, 0)]},
        {"t0_ns": 1100 * MS, "t1_ns": 1200 * MS, "prefill_tokens": 0, "decode_tokens": 2, "emitted_tokens": 2,
         "members": [_member(0, 0, 1, 1, 4), _member(1, 0, 1, 1, 6)]},
        {"t0_ns": 1200 * MS, "t1_ns": 1300 * MS, "prefill_tokens": 0, "decode_tokens": 2, "emitted_tokens": 2,
         "members": [_member(0, 0, 1, 1, 5), _member(1, 0, 1, 1, 7)]},
    ]  # fmt: skip
    requests = [
        {"request": number, "request_id": f"r{number}", "role": "measured", "due_ns": 990 * MS, "submitted_ns": 995 * MS,
         "first_token_ns": 1100 * MS, "finished_ns": 1300 * MS, "input_tokens": 4 + 2 * number, "cached_tokens": 0, "output_tokens": 3,
         "sequences": 1, "preemptions": 0, "status": "ok", "finish_reason": "length",
         "token_ns": [1100 * MS, 1200 * MS, 1300 * MS]}
        for number in range(2)
    ]  # fmt: skip
    return {
        "samples": samples,
        "steps": [{"step": number, "instance": "0", "time_source": "host", **step} for number, step in enumerate(steps)],
        "requests": requests,
        "windows": [{"window": "load", "t0_ns": 0, "t1_ns": 900 * MS}, {"window": "measure", "t0_ns": 990 * MS, "t1_ns": 1300 * MS}],
        "events": [{"t_ns": 0, "source": "session", "level": "info", "code": "run_started", "message": "began"}],
    }


def write_bundle(folder: Path, manifest: dict[str, Any], content: Tables) -> Path:
    """Write the folder in the types of the contract."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for table, rows in content.items():
        pq.write_table(pa.Table.from_pylist(rows, schema=lenient(table)), folder / f"{table}.parquet")
    return folder


MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """`make_bundle(change, name=...)`: the small bundle after `change(manifest, tables)`."""

    def make(change: Callable[[dict[str, Any], Tables], None] | None = None, name: str = "run") -> Path:
        manifest, content = copy.deepcopy(MANIFEST), tables()
        if change is not None:
            change(manifest, content)
        return write_bundle(tmp_path / name, manifest, content)

    return make
