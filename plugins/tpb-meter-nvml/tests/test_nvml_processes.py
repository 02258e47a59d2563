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
    """Process 1 is a stranger on every machine."""
    bench.double.gpu("h100", uuid="GPU-a", processes=((0, 112, 1, 2**30), (0, None, os.getpid(), 2**20)))
    meter = bench.opened()
    for _ in range(10):
        meter.read()
    assert strangers(bench) == []
    meter.at_window_edge("measure")
    (told,) = strangers(bench)
    assert told.startswith("process 1 (")
    assert told.endswith(") with 1024 MiB on GPU-a at an edge of measure")
    bench.clock.sleep_until(113_000_000_000)
    meter.at_window_edge("measure")
    assert len(strangers(bench)) == 1


def test_processes_that_a_container_does_not_see_are_no_strangers(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a", processes=((0, None, 4_000_001, 2**30), (0, None, 4_000_002, 2**20)))
    meter = bench.opened()
    for _ in range(3):
        meter.at_window_edge("measure")
    assert strangers(bench) == []
    told = [message for code, message, _ in bench.events if code == EventCode.METER_UNAVAILABLE]
    assert told == ["2 processes on GPU-a are not seen from this container: ours or others'"]


def test_boards_that_the_run_does_not_use_are_not_looked_at(bench: Any) -> None:
    bench.double.gpu("h100", processes=((0, None, 1, 2**30),)).gpu("h100")
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


def test_parents_and_groups_are_followed_by_the_numbers_that_the_kernel_gives(tmp_path: Path) -> None:
    rows = (
        (100, 50, 50, "vllm (worker) 1"),
        (50, 7, 50, "python"),
        (7, 1, 7, "bash"),
        (60, 61, 60, "a"),
        (61, 60, 60, "b"),
        (70, 1, 50, "orphan"),
    )
    for pid, parent, group, name in rows:
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} {group} 1 0")
        (tmp_path / str(pid) / "comm").write_text(f"{name}\n")
    own = OwnProcesses(tmp_path)
    assert own.has(100) is False
    own.add([50])
    assert own.has(100) is True
    assert own.has(70) is True, "its parent is gone, its group is the engine's"
    assert own.has(7) is False
    assert own.has(60) is False, "a circle of parents, torn while it was read, ends"
    assert own.has(4711) is None
    assert own.name(100) == "vllm (worker) 1"
