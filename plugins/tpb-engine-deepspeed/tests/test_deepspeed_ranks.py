"""Tensor parallelism over two processes on the CPU, in a process of its own: the same tokens as without, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
from tpb_core.api import EngineContext, Refused, Sampling
from tpb_core.testing.engine_session import EngineSession, SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_deepspeed import DeepSpeedConfig

told = {}
for processes in (1, 2):
    config = DeepSpeedConfig(model=sys.argv[1], accelerator="cpu", threads=1, tensor_parallel=processes)
    session = EngineSession(config, EngineContext(SuiteClock(), "run", log_path=sys.argv[2]))
    session.open()
    for name, sampling in {"greedy": {}, "drawn": {"temperature": 1.0, "seed": 5}}.items():
        sink = RecordingSink()
        session.run(session.requests(2, 20, Sampling(5, exact_output_length=True, **sampling), shorter_by=3), sink)
        told[f"{name}{processes}"] = [recorded.ids for recorded in sink.requests.values()]
    told[f"layers{processes}"] = session.description.extensions["x_replaced_layers"]
    told["pids"] = session.engine.processes()
    session.engine.close()
    told["environment"] = os.environ.get("WORLD_SIZE")
again = EngineSession(config, EngineContext(SuiteClock(), "run", log_path=sys.argv[2]))
try:
    again.open()
except Refused as refusal:
    told["refused"] = refusal.what
print("TOLD " + json.dumps(told))
"""


@pytest.mark.real_engine
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("c++") is None, reason="DeepSpeed compiles its shared-memory operation, and there is no C++ compiler")
def test_two_processes_give_the_tokens_of_one(tiny_llama: Path, tmp_path: Path) -> None:
    # DeepSpeed calls ninja by name
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_llama), str(tmp_path / "worker.log")],
        capture_output=True,
        text=True,
        timeout=850,
        env=environment,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    assert lines, done.stderr[-2000:]
    told = json.loads(lines[-1].removeprefix("TOLD "))
    assert told["greedy1"] == told["greedy2"]
    assert told["drawn1"] == told["drawn2"]
    assert (told["layers1"], told["layers2"] > 0) == (0, True)
    assert told["environment"] is None
    assert "had a group" in told["refused"]
    assert len(told["pids"]) == 1
    assert not Path(f"/proc/{told['pids'][0]}").exists()
