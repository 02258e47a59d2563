"""Shared memory goes with the engine, also where nobody could close it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import resource_tracker, shared_memory
from pathlib import Path

import pytest

from tpb_engine_vllm.shared_memory import SharedMemory, segments_of

pytestmark = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm on this system")
HOLDER = """
import os, sys, time
from multiprocessing import resource_tracker, shared_memory
from tpb_engine_vllm.shared_memory import SharedMemory
segment = shared_memory.SharedMemory(create=True, size=4096)
resource_tracker.unregister(segment._name, "shared_memory")
held = SharedMemory([os.getpid()])
print("/dev/shm/" + segment.name, flush=True)
time.sleep(60)
"""


def gone(path: Path, patience_s: float = 20.0) -> bool:
    give_up = time.monotonic() + patience_s
    while path.exists() and time.monotonic() < give_up:
        time.sleep(0.05)
    return not path.exists()


def test_closing_unlinks_what_was_mapped() -> None:
    segment = shared_memory.SharedMemory(create=True, size=4096)
    resource_tracker.unregister(segment._name, "shared_memory")  # type: ignore[attr-defined]  # its registered name is not public
    path = Path("/dev/shm") / segment.name
    try:
        assert str(path) in segments_of(os.getpid())
        held = SharedMemory([os.getpid()])
        assert path.exists()
        held.close()
        held.close()
        assert not path.exists()
    finally:
        segment.close()


def test_a_killed_process_leaves_none() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert holder.stdout is not None
    path = Path(holder.stdout.readline().strip())
    assert path.exists()
    os.killpg(holder.pid, signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert gone(path)


def test_a_process_that_is_gone_has_nothing_mapped() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert segments_of(ended.pid) == set()
    SharedMemory([ended.pid]).close()
