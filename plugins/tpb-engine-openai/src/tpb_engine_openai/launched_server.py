"""A server that tpb started: its command, its log, whether it is ready, and its end together with everything it started."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path

from tpb_core.api import BadInput, MeasurementFailed
from tpb_engine_openai.address import Address
from tpb_engine_openai.questions import NoAnswer, Questions

_MARK = "TPB_SERVER"
"""Environment variable by which the server's processes are known again, also those that left its process group."""
_PATIENCE_S = 10.0
_LOOK_S = 0.1
_PROC = Path("/proc")


class LaunchedServer:
    """Stays in this process's group, so that it also ends when the group of the engine worker is ended from outside."""

    def __init__(self, command: str, host: str, port: int | None, log_path: str | None) -> None:
        """Start it. Raises BadInput where the command cannot be started."""
        self.port = port or _free_port(host)
        self._mark = uuid.uuid4().hex
        self._log_path = log_path
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise BadInput(f"engine.command={command!r} cannot be split into arguments: {error}", "Quote it as in a shell.") from error
        self._arguments = [word.replace("{port}", str(self.port)).replace("{host}", host) for word in words]
        if not self._arguments or shutil.which(self._arguments[0]) is None:
            raise BadInput(
                f"engine.command: there is no program {self._arguments[0] if words else ''!r}", "Give its full path, or install the server."
            )
        log = subprocess.DEVNULL if log_path is None else os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._process = subprocess.Popen(
                self._arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, _MARK: self._mark}
            )
        except OSError as error:
            raise BadInput(f"engine.command: {self._arguments[0]}: {error.strerror}", "Run it by hand first.") from error
        finally:
            if log_path is not None:
                os.close(log)

    @property
    def arguments(self) -> list[str]:
        """The command as it was started."""
        return self._arguments

    def wait_until_ready(self, address: Address, headers: dict[str, str], ready_path: str | None, timeout_s: float) -> None:
        """Ask until it answers. Raises MeasurementFailed where it ends or takes too long, with the last lines of its log."""
        deadline = time.monotonic() + timeout_s
        with Questions(address, headers, timeout_s=5.0) as questions:
            while True:
                if (code := self._process.poll()) is not None:
                    how = f"signal {-code}" if code < 0 else f"exit code {code}"
                    raise self._failed(f"the server ended with {how} before it was ready")
                try:
                    if is_ready(questions, ready_path):
                        return
                except NoAnswer:
                    pass
                if time.monotonic() > deadline:
                    raise self._failed(f"the server was not ready within {timeout_s:g} s")
                time.sleep(_LOOK_S)

    def processes(self) -> list[int]:
        """Its process and all that descend from it, those that left their group or lost their parent included."""
        found = {self._process.pid} if self._process.poll() is None else set()
        return sorted(found | self._marked())

    def stop(self) -> None:
        """SIGTERM, patience, SIGKILL, until none of its processes is left. Idempotent."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        deadline = time.monotonic() + _PATIENCE_S
        while (left := self._marked()) and time.monotonic() < deadline:
            for pid in left:
                _kill(pid)
            time.sleep(0.02)

    def _marked(self) -> set[int]:
        mark = f"{_MARK}={self._mark}".encode()
        found = set()
        for entry in _PROC.iterdir() if _PROC.is_dir() else ():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.add(int(entry.name))
                except OSError:
                    continue  # gone, or another user's
        return found

    def _failed(self, what: str) -> MeasurementFailed:
        lines: list[str] = []
        if self._log_path is not None:
            lines = Path(self._log_path).read_text(errors="replace").splitlines()[-8:]
        return MeasurementFailed(what, f"Try the command by hand:  {shlex.join(self._arguments)}", [line[:300] for line in lines])


def is_ready(questions: Questions, ready_path: str | None) -> bool:
    """Whether a server answers 200: at `ready_path`; else at /health, and at /v1/models where it has no /health. Raises NoAnswer."""
    if ready_path is not None:
        return questions.ask(ready_path)[0] == 200
    status, _ = questions.ask("/health")
    if status in (404, 405):
        status, _ = questions.ask("/v1/models")
    return status == 200


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise BadInput(f"engine.host={host}: {error.strerror}", "Type for example engine.host=127.0.0.1") from error
        port: int = probe.getsockname()[1]
        return port


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError, PermissionError):
        return
