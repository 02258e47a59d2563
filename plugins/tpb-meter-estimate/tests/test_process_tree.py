"""CPU time of the engine: its children too, those that nobody saw too, and nobody else's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core.testing.meter_context import RecordingContext
from tpb_meter_estimate import EstimateConfig, EstimateMeter
from tpb_meter_estimate.process_tree import ProcessTree

BURN = "import time\ndef burn(s):\n    end = time.process_time() + s\n    while time.process_time() < end: pass\n"
RUSAGE = (
    "import resource\n"
    "def used():\n"
    "    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime\n"
)


class Engine:
    """A real process that does what it is told, a line at a time, and answers with a line."""

    def __init__(self, prelude: str = "") -> None:
        loop = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin:\n    exec(line)\n    print('done', used(), flush=True)\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", BURN + RUSAGE + prelude + loop], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer()

    def answer(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def send(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def do(self, line: str) -> float:
        """Run the line; returns the CPU seconds of the process and its waited-for children, by its own account."""
        self.send(line)
        return float(self.answer()[1])

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    engine.end()


def seconds_of(tree: ProcessTree) -> float:
    seconds = tree.cpu_seconds()
    assert seconds is not None
    return seconds


def test_own_work_is_counted(engine: Engine) -> None:
    tree = ProcessTree(Path("/proc"))
    tree.follow([engine.process.pid])
    start = seconds_of(tree)
    engine.do("burn(0.3)")
    assert seconds_of(tree) - start == pytest.approx(0.3, abs=0.05)


def test_children_that_came_and_went_unseen_are_counted(engine: Engine) -> None:
    tree = ProcessTree(Path("/proc"), rescan_s=1000.0)
    tree.follow([engine.process.pid])
    start, truth = seconds_of(tree), engine.do("import subprocess")
    child = f"subprocess.run([sys.executable, '-c', {BURN + 'burn(0.2)'!r}])"
    truth = engine.do(f"{child}; {child}") - truth
    assert truth > 0.4
    assert seconds_of(tree) - start == pytest.approx(truth, abs=0.06)


def test_a_child_seen_alive_is_counted_once_when_it_ends(engine: Engine) -> None:
    tree = ProcessTree(Path("/proc"), rescan_s=0.0)
    tree.follow([engine.process.pid])
    start, truth = seconds_of(tree), engine.do("import subprocess")
    engine.send(f"subprocess.run([sys.executable, '-c', {BURN + 'burn(0.5)'!r}])")
    last, highest = 0.0, 0
    while engine.process.poll() is None and last - start < 0.4:
        now = seconds_of(tree)
        assert now >= last, "a counter of CPU seconds never falls"
        last, highest = now, max(highest, len(tree.members()))
        time.sleep(0.01)
    assert highest == 2, "the child was seen while it lived"
    truth = float(engine.answer()[1]) - truth
    assert seconds_of(tree) - start == pytest.approx(truth, abs=0.06)
    assert tree.members() == [engine.process.pid]


def test_an_orphan_stays_counted(engine: Engine) -> None:
    # The middle process ends at once; its child, no longer a descendant by parent pid, goes on working for the engine.
    tree = ProcessTree(Path("/proc"), rescan_s=0.0)
    tree.follow([engine.process.pid])
    inner = BURN + "import sys\nsys.stdin.read()\nburn(0.3)\nprint('over', flush=True)"
    middle = (
        f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {inner!r}], stdin=sys.stdin)\n"
        "sys.stdin.close()\ntime.sleep(0.5)"
    )
    engine.do(f"import subprocess; p = subprocess.Popen([sys.executable, '-c', {middle!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)")
    deadline = time.monotonic() + 10
    while len(tree.members()) < 3 and time.monotonic() < deadline:
        seconds_of(tree)
        time.sleep(0.01)
    engine.do("p.wait()")
    before = seconds_of(tree)
    engine.do("p.stdin.close(); p.stdout.readline(); p.stdout.close()")
    assert seconds_of(tree) - before == pytest.approx(0.3, abs=0.1)


def test_work_of_other_processes_is_not_the_engines(engine: Engine) -> None:
    # MELODI's mistake: the CPU energy of the wrong process.
    other = Engine()
    try:
        tree = ProcessTree(Path("/proc"), rescan_s=0.0)
        tree.follow([engine.process.pid])
        start = seconds_of(tree)
        other.do("burn(0.4)")
        end = time.process_time() + 0.1
        while time.process_time() < end:  # our own work: the session's and the meter's
            pass
        assert seconds_of(tree) - start <= 0.02
    finally:
        other.end()


def test_what_a_server_used_before_it_was_watched_does_not_count(engine: Engine) -> None:
    engine.do("burn(0.3)")
    time.sleep(0.05)
    tree = ProcessTree(Path("/proc"))
    tree.follow([engine.process.pid])
    assert seconds_of(tree) <= 0.03


def test_a_second_worker_that_starts_later_counts_from_its_birth(engine: Engine) -> None:
    tree = ProcessTree(Path("/proc"))
    tree.follow([engine.process.pid])
    start = seconds_of(tree)
    late = Engine()
    try:
        late.do("burn(0.2)")
        tree.follow([engine.process.pid, late.process.pid])
        assert seconds_of(tree) - start >= 0.2
    finally:
        late.end()
    assert seconds_of(tree) - start >= 0.2, "what an ended process used stays counted"


def test_nothing_is_claimed_before_the_engine_is_known() -> None:
    context = RecordingContext()
    meter = EstimateMeter(EstimateConfig(), context)
    meter.discover()
    meter.open()
    assert [reading.channel for reading in meter.read()] == ["n0/cpu_node"], "no zero for an engine that was not named"
    meter.close()
