"""One run of one tool against the stand-in, and what came of it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from clients.load import Load, Tool
from clients.memory import Look, watch
from clients.stand_in import StandIn

_GIVE_UP_S = 900.0


class ToolFailed(Exception):
    """A tool ended badly, or did not send what it was asked for. Says how, with the end of its output."""


@dataclass(frozen=True)
class Session:
    """What the stand-in saw of a load, and what the tool said of it. All arrays have one entry a request, in the order of arrival."""

    load: Load
    folder: Path
    arrived_ns: npt.NDArray[np.int64]
    added_ms: npt.NDArray[np.float64]
    """The tool's time to first token, less the time from arrival to first token that the stand-in took."""
    most_open: int
    looks: list[Look]
    """At the tool's memory; none where it was not watched."""


def run(tool: Tool, server: StandIn, load: Load, parent: Path, *, watch_memory: bool = False) -> Session:
    """Run a tool to its end in a new folder below `parent`. Raises ToolFailed."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    server.stamps()
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            tool.command(load, server.url, folder), stdout=output, stderr=output, cwd=folder, env={**os.environ, **tool.environment()},
            start_new_session=True,
        )  # fmt: skip
        looks: list[Look] = []
        try:
            if watch_memory:
                looks = watch(process, server, _GIVE_UP_S)
            process.wait(_GIVE_UP_S)
        except subprocess.TimeoutExpired:
            raise ToolFailed(f"not over after {_GIVE_UP_S:g} s; {_end_of(log)}") from None
        finally:
            _end(process)
    if process.returncode:
        raise ToolFailed(f"exit code {process.returncode}; {_end_of(log)}")
    rows, most_open = server.stamps()
    rows = rows[-load.requests :]  # some tools try the server with a request before they begin
    said_ms = np.array(tool.first_tokens_ms(folder), np.float64)
    if len(rows) != load.requests or len(said_ms) != load.requests or (rows < 0).any():
        raise ToolFailed(f"{load.requests} requests were asked for, {len(rows)} came, {len(said_ms)} were answered; {_end_of(log)}")
    return Session(load, folder, rows[:, 0], said_ms - (rows[:, 1] - rows[:, 0]) / 1e6, most_open, looks)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Nothing of the tool is left."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _end_of(log: Path) -> str:
    return "its last words: " + " | ".join(log.read_text(errors="replace").strip().split("\n")[-6:])[-600:]
