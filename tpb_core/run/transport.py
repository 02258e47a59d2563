"""How messages reach an engine service: over pipes to a worker process, or by a call on a virtual clock."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from pathlib import Path
from typing import Protocol

from tpb_core import drivers
from tpb_core.api.errors import BadInput, MeasurementFailed, PluginFault, TpbError
from tpb_core.api.units import NS_PER_S
from tpb_core.run.clock import RealClock, VirtualClock
from tpb_core.run.engine_service import EngineService, build_service
from tpb_core.run.interruption import Interruption
from tpb_core.run.messages import Connection, ConnectionLost, Message


class EngineLost(MeasurementFailed):
    """The engine worker vanished: it crashed or was killed."""


class Transport(Protocol):
    """One engine service at the other end."""

    @property
    def pid(self) -> int | None:
        """The worker's process (and process group), or None where it is this process."""

    def send(self, message: Message) -> None:
        """Deliver a message. Raises `EngineLost`."""

    def receive(self, until_ns: int | None) -> Message | None:
        """The next message; None at `until_ns`. Raises `EngineLost`."""

    def end(self) -> None:
        """End the worker and everything that it started, for certain. Idempotent."""


class ProcessTransport:
    """A worker process with an interpreter of its own, in a process group of its own so that Ctrl-C does not reach it."""

    def __init__(self, python: str, log: Path, clock: RealClock, interruption: Interruption, environ: dict[str, str]) -> None:
        self._clock, self._interruption, self._log = clock, interruption, log
        with log.open("ab") as stderr:
            try:
                self._process = subprocess.Popen(
                    [python, "-P", "-m", "tpb_core.run.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    start_new_session=True,
                    env=environ,
                    bufsize=0,
                )
            except OSError as error:
                raise BadInput(
                    f"engine.python={python}: {error.strerror}", "Give the path of a Python interpreter, or a name from `tpb env list`."
                ) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._connection = Connection(os.dup(self._process.stdout.fileno()), os.dup(self._process.stdin.fileno()))
        self._process.stdin.close()
        self._process.stdout.close()

    @property
    def pid(self) -> int | None:
        """Process id of the worker, which leads its process group."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """See `Transport`."""
        try:
            self._connection.send(message)
        except ConnectionLost:
            raise self._lost() from None

    def receive(self, until_ns: int | None) -> Message | None:
        """See `Transport`. Returns early when the user interrupts; the caller looks at the interruption."""
        timeout_s = None if until_ns is None else max(0.0, (until_ns - self._clock.now_ns()) / NS_PER_S)
        try:
            return self._connection.receive(timeout_s, also=self._interruption.fileno())
        except ConnectionLost:
            raise self._lost() from None

    def _lost(self) -> EngineLost:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        how = "went silent" if code is None else f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return EngineLost(f"the engine worker {how}", f"Its output is in {self._log}", _last_lines(self._log))

    def end(self) -> None:
        """Close the pipe, wait a moment, then end the process group."""
        self._connection.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            end_process_group(self._process.pid)
            self._process.wait()
        else:
            end_process_group(self._process.pid)  # servers that the engine left behind


class LocalTransport:
    """The engine service in the session process, on a virtual clock: sending is calling, and waiting lets time pass."""

    pid = None

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._inbox: deque[Message] = deque()
        self._service: EngineService | None = None
        self._distribution = "the engine"

    def send(self, message: Message) -> None:
        """See `Transport`."""
        try:
            if message["kind"] == "hello":
                name = message["engine"]["name"]
                self._distribution = drivers.find("tpb.engines", name).distribution
                engine_class = drivers.load("tpb.engines", name)
                self._service = build_service(message, engine_class, self._distribution, self._clock, self._inbox.append)
            else:
                assert self._service is not None
                self._service.handle(message)
        except TpbError:
            raise
        except Exception as error:
            raise PluginFault(self._distribution, message["kind"], error) from error

    def receive(self, until_ns: int | None) -> Message | None:
        """See `Transport`. Time passes by at most one iteration of the engine."""
        if not self._inbox:
            if self._service is not None and self._service.busy:
                self._service.advance(until_ns if until_ns is not None else self._clock.now_ns() + NS_PER_S)
            elif until_ns is not None:
                self._clock.sleep_until(until_ns)
        return self._inbox.popleft() if self._inbox else None

    def end(self) -> None:
        """Close the engine."""
        if self._service is not None:
            self._service.close()
            self._service = None


def end_process_group(group: int) -> None:
    """SIGTERM, up to two seconds of patience, SIGKILL. Returns at once where the group is empty."""
    import time

    for number, patience_s in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return
        give_up_s = time.monotonic() + patience_s
        while time.monotonic() < give_up_s:
            try:
                os.killpg(group, 0)
            except (ProcessLookupError, PermissionError):
                return
            time.sleep(0.02)


def _last_lines(log: Path, count: int = 5) -> list[str]:
    try:
        return [line[:300] for line in log.read_text(errors="replace").splitlines()[-count:]]
    except OSError:
        return []
