"""The other processes of tensor parallelism, seen from the first one: started, told what to run, and ended for certain.

They get the variables that DeepSpeed's launcher sets (RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, ...); the first rank is the engine
worker itself, which is why the launcher is not used as a program. A rank ends when its input closes, also when this process is killed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tpb_core.api import Refused, Request
from tpb_engine_deepspeed.config import DeepSpeedConfig

END_TIMEOUT_S = 20.0
LOADED = "loaded"
GO = "go"


class Ranks:
    """Ranks 1 to n-1. This process becomes rank 0: its environment is changed until `close`."""

    _met_before = False
    """Process groups are numbered in each process, so that fresh ranks and one that had a group before would wait for each other."""

    def __init__(self, log_path: str | None) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self._log_path = f"{log_path}.ranks" if log_path else os.devnull
        self._found: dict[str, str | None] = {}

    @classmethod
    def start(cls, config: DeepSpeedConfig, log_path: str | None) -> Ranks:
        """Start the processes; they load the model while this one does. Their output goes to `log_path`, with `.ranks` added."""
        if cls._met_before:
            raise Refused(
                "This process had a group of tensor parallelism before, and torch can give it no second one with fresh processes.",
                "Use run.isolation=process, so that each point gets a worker of its own.",
            )
        count, port = config.tensor_parallel, config.master_port or _free_port()
        shared = {"WORLD_SIZE": str(count), "LOCAL_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        own = {**shared, "RANK": "0", "LOCAL_RANK": "0"}
        ranks = cls(log_path)
        ranks._found = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        with Path(ranks._log_path).open("a") as log:
            for rank in range(1, count):
                environment = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                command = [sys.executable, "-m", "tpb_engine_deepspeed.rank"]
                ranks._processes.append(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
                )
        ranks._tell(json.dumps(dataclasses.asdict(config)))
        return ranks

    def meet(self) -> None:
        """Wait until all have loaded the model, then let them join. Raises `Refused` where one ended instead."""
        for process in self._processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != LOADED:
                self.close()
                raise Refused(
                    "A process of tensor parallelism ended while it loaded the model.",
                    f"Read {self._log_path}." if self._log_path else None,
                )
        Ranks._met_before = True
        self._tell(GO)

    def share(self, requests: Sequence[Request]) -> list[Request]:
        """Let all ranks run the requests, and return them as this one has to run them: with a seed wherever tokens are drawn."""
        seeded = [
            replace(request, sampling=replace(request.sampling, seed=random.getrandbits(31)))
            if request.sampling.temperature > 0 and request.sampling.seed is None
            else request
            for request in requests
        ]
        self._tell(json.dumps([dataclasses.asdict(request) for request in seeded]))
        return seeded

    def _tell(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(line + "\n")
            process.stdin.flush()

    def pids(self) -> list[int]:
        """Process ids of the other ranks."""
        return [process.pid for process in self._processes]

    def close(self) -> None:
        """End the processes and put the environment back. Idempotent."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        deadline = time.monotonic() + END_TIMEOUT_S
        for process in self._processes:
            try:
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes = []
        for name, value in self._found.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._found = {}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
