"""The step log on disk: numbered, serialised within an instance, free between instances."""

from __future__ import annotations

from pathlib import Path

from tpb_core.api.requests import Member, Step
from tpb_core.run.step_spool import StepSpool
from tpb_core.store.spool import spool_files
from tpb_core.store.streams import SpoolStream


def rows(bundle: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path in spool_files(bundle)["steps"]:
        for batch in SpoolStream(path).batches():
            found += batch.to_pylist()
    return found


def test_overlapping_stamps_of_one_instance_are_serialised_and_counted(tmp_path: Path) -> None:
    spool = StepSpool(tmp_path)
    spool.append(Step(t0_ns=100, t1_ns=200, prefill_tokens=8, decode_tokens=0, emitted_tokens=1, members=[Member(0, 8, 0, 1, 0)]))
    spool.append(Step(t0_ns=150, t1_ns=300, prefill_tokens=0, decode_tokens=1, emitted_tokens=1))
    spool.append(Step(t0_ns=150, t1_ns=250, prefill_tokens=0, decode_tokens=1, emitted_tokens=1, instance="1"))
    spool.close()
    got = rows(tmp_path)
    assert [(row["step"], row["instance"], row["t0_ns"], row["t1_ns"]) for row in got] == [
        (0, "0", 100, 200),
        (1, "0", 200, 300),
        (2, "1", 150, 250),
    ]
    assert spool.serialised == 1
    assert got[0]["members"] == [{"request": 0, "prefill_tokens": 8, "decode_tokens": 0, "emitted_tokens": 1, "kv_tokens": 0}]
    assert got[1]["members"] is None
