"""Other people's processes on the run's GPUs, looked for at window edges."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tpb_core.api import EventCode
from tpb_core.api.own_processes import OwnProcesses


def strangers(bench: Any) -> list[str]:
    return [message for code, message, _ in bench.events if code == EventCode.FOREIGN_PROCESS]


def test_strangers_are_noticed_at_edges_and_never_polled(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a", processes=((0, 112, 4_000_001, 2**30), (0, None, 4_000_002, 2**20)))
    meter = bench.opened()
    for _ in range(10):
        meter.read()
    assert strangers(bench) == []
    meter.engine_started([4_000_002])
    meter.at_window_edge("measure")
    assert strangers(bench) == ["process 4000001 (not visible from here) with 1024 MiB on GPU-a at an edge of measure"]
    bench.clock.sleep_until(113_000_000_000)
    meter.at_window_edge("measure")
    assert len(strangers(bench)) == 1


def test_boards_that_the_run_does_not_use_are_not_looked_at(bench: Any) -> None:
    bench.double.gpu("h100", processes=((0, None, 4_000_001, 2**30),)).gpu("h100")
    meter = bench.opened({"CUDA_VISIBLE_DEVICES": "1"})
    meter.at_window_edge("measure")
    assert strangers(bench) == []


def test_children_of_ours_are_ours(bench: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]) as child:
        bench.double.gpu("h100", processes=((0, None, child.pid, 2**30), (0, None, os.getpid(), 2**30)))
        meter = bench.opened()
        meter.at_window_edge("measure")
        child.kill()
    assert strangers(bench) == []


def test_parents_are_followed_by_the_numbers_that_the_kernel_gives(tmp_path: Path) -> None:
    for pid, parent, name in ((100, 50, "vllm (worker) 1"), (50, 7, "python"), (7, 1, "bash"), (60, 61, "a"), (61, 60, "b")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 1 1 0")
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
    own = OwnProcesses(tmp_path)
    assert not own.has(100)
    own.add([50])
    assert own.has(100)
    assert not own.has(7)
    assert not own.has(60), "a circle of parents, torn while it was read, ends"
    assert own.name(100) == "vllm (worker) 1"
