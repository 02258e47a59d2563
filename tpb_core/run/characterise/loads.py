"""Loads that are switched on, off and in between: busy processes on every core, or any command, stopped and continued."""

from __future__ import annotations

import contextlib
import mmap
import os
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from tpb_core.api.errors import BadInput, MeasurementFailed
from tpb_core.run.transport import end_process_group

_BUSY = """
import mmap, os, struct, sys, time
shared = mmap.mmap(int(sys.argv[1]), 8)
os.nice(10)
while True:
    share, begin = struct.unpack("d", shared[:8])[0], time.monotonic()
    while time.monotonic() - begin < 0.02 * share:
        sum(range(2000))
    if share < 1:
        time.sleep(0.02 * (1 - share))
"""
"""Busy for a share of each 20 ms, which is below the averaging of any meter that a steady level is meant for. Polite to the sampler."""
_PULSE_S = 0.04
_SETTLE_S = 3.0
_STARTED_S = 0.3
"""Interpreters that are stopped while they still start would begin to work late."""


class Load(Protocol):
    """Something that draws power when it is told to. Used by the session's thread."""

    def describe(self) -> dict[str, Any]:
        """The manifest key `engine`: `name` and whatever else is known."""

    def prepare(self) -> list[int]:
        """Start it, switched off; returns its process groups. Raises `BadInput` where it cannot be started."""

    def begin(self) -> None:
        """The window opens."""

    def set(self, level: float) -> None:
        """From now on this share of full load: 0 is off, 1 is on. Raises `MeasurementFailed` where it has ended by itself."""

    def close(self) -> dict[str, Any] | None:
        """End it. Idempotent."""


class BusyCores:
    """One busy process for each core that this process may use."""

    def __init__(self, cores: int | None = None) -> None:
        self.cores = cores or len(os.sched_getaffinity(0))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._page: mmap.mmap | None = None

    def describe(self) -> dict[str, Any]:
        """It stands where a run of ours has its engine."""
        return _described("busy cores", f"{self.cores} busy processes")

    def prepare(self) -> list[int]:
        """Start the processes, stopped."""
        with tempfile.TemporaryFile() as shared:
            shared.write(struct.pack("d", 0.0))
            shared.flush()
            self._page = mmap.mmap(shared.fileno(), 8)
            for _ in range(self.cores):
                command = [sys.executable, "-ISc", _BUSY, str(shared.fileno())]
                self._processes.append(subprocess.Popen(command, pass_fds=[shared.fileno()], start_new_session=True))
        time.sleep(_STARTED_S)
        self.set(0.0)
        return [process.pid for process in self._processes]

    def begin(self) -> None:
        """Nothing to wait for."""

    def set(self, level: float) -> None:
        """Off by stopping the processes, so that the edge is sharp; in between by their duty."""
        assert self._page is not None
        if level > 0:
            self._page[:8] = struct.pack("d", level)
        _signal_all(self._processes, signal.SIGCONT if level > 0 else signal.SIGSTOP)

    def close(self) -> dict[str, Any] | None:
        """End the processes."""
        _end(self._processes)
        return None


class SwitchedCommand:
    """A command of the user's in a session of its own, stopped and continued; in between in pulses of 40 ms."""

    def __init__(self, command: Sequence[str], settle_s: float = _SETTLE_S) -> None:
        """`settle_s`: how long it runs before the first switching, so that it has loaded what it needs."""
        self._command, self._settle_s = list(command), settle_s
        self._processes: list[subprocess.Popen[bytes]] = []
        self._share = 0.0
        self._changed = threading.Event()
        self._over = False
        self._pulses: threading.Thread | None = None

    def describe(self) -> dict[str, Any]:
        """The command stands where a run of ours has its engine."""
        return _described("command", shlex.join(self._command))

    def prepare(self) -> list[int]:
        """Start it, let it settle, stop it. Raises `BadInput` where there is no such program."""
        if shutil.which(self._command[0]) is None:
            raise BadInput(f"{self._command[0]}: no such program", "Type for example --load cpu, or --load 'python burn.py'")
        self._processes.append(subprocess.Popen(self._command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._processes[0].wait(self._settle_s)
        self.set(0.0)
        return [self._processes[0].pid]

    def begin(self) -> None:
        """Nothing to wait for."""

    def set(self, level: float) -> None:
        """See `Load`."""
        if self._processes[0].poll() is not None:
            raise MeasurementFailed(
                f"the load {shlex.join(self._command)!r} ended by itself (exit code {self._processes[0].returncode})",
                "Give a command that goes on until it is ended.",
            )
        self._share = level
        if 0 < level < 1 and self._pulses is None:
            self._pulses = threading.Thread(target=self._pulse, name="load-pulses", daemon=True)
            self._pulses.start()
        self._changed.set()
        if level in (0.0, 1.0):
            _signal_all(self._processes, signal.SIGCONT if level else signal.SIGSTOP)

    def _pulse(self) -> None:
        """Runs in a thread of its own: stop and continue while the level lies in between."""
        while not self._over:
            share = self._share
            if not 0 < share < 1:
                self._changed.wait()
                self._changed.clear()
                continue
            for number, part in ((signal.SIGCONT, share), (signal.SIGSTOP, 1 - share)):
                if self._share == share and not self._over:
                    _signal_all(self._processes, number)
                    self._changed.clear()
                    self._changed.wait(_PULSE_S * part)

    def close(self) -> dict[str, Any] | None:
        """End it and whatever it started."""
        self._over = True
        self._changed.set()
        if self._pulses is not None:
            self._pulses.join()
        _end(self._processes)
        return None


def load_named(text: str) -> Load:
    """`cpu`, or a command as in a shell. Raises BadInput."""
    if text == "cpu":
        return BusyCores()
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadInput(f"--load {text!r}: {error}", "Quote the command as in a shell, for example --load 'python burn.py'") from error
    if not words:
        raise BadInput("--load is empty", "Type for example --load cpu, or --load 'python burn.py'")
    return SwitchedCommand(words)


def _described(name: str, model: str) -> dict[str, Any]:
    return {"name": name, "model": {"name": model}, "requested": {}, "effective": {}, "instances": []}


def _signal_all(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # one that is stopped does not hear SIGTERM
            process.wait()
        end_process_group(process.pid)
