"""The load client: the cores that it is given, and the CPU time that is told apart."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tpb_core.api.errors import BadInput
from tpb_core.run.load_client import ClientCores, busy_cpu_s, pin, read_cores

CORES = sorted(os.sched_getaffinity(0))
THREADS = """
import threading, time
for _ in range(3):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print(flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("text", "reason"), [("zwei", "no core"), ("1-x", "no core"), ("", "no core"), ("4-", "no core"), ("99999", "cannot be used")]
)
def test_what_are_no_cores_is_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_cores(text)
    assert reason in caught.value.what


def test_cores_are_read_as_lists_and_ranges() -> None:
    assert read_cores(f"{CORES[0]}") == {CORES[0]}
    assert read_cores(f" {CORES[0]} , {CORES[-1]}") == {CORES[0], CORES[-1]}
    if list(range(CORES[0], CORES[-1] + 1)) == CORES:
        assert read_cores(f"{CORES[0]}-{CORES[-1]}") == set(CORES)


def test_every_thread_of_a_process_is_pinned() -> None:
    with subprocess.Popen([sys.executable, "-c", THREADS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        threads = [int(thread.name) for thread in Path(f"/proc/{process.pid}/task").iterdir()]
        assert len(threads) == 4
        pin(process.pid, {CORES[-1]})
        assert {tuple(os.sched_getaffinity(thread)) for thread in threads} == {(CORES[-1],)}
        process.kill()


def test_the_session_gets_its_cores_back() -> None:
    cores = ClientCores(str(CORES[0]))
    try:
        cores.pin_session()
        assert os.sched_getaffinity(0) == {CORES[0]}
    finally:
        cores.free_session()
    assert os.sched_getaffinity(0) == set(CORES)


def test_busy_time_grows_by_the_work_that_is_done() -> None:
    """Half a second of one core; others on the machine may work too, so more is possible."""
    before, end = busy_cpu_s(), time.process_time() + 0.5
    while time.process_time() < end:
        pass
    assert busy_cpu_s() - before >= 0.45
