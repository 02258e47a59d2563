"""`start`: a `tpb` under way in a folder of its own, with the acme engine, that tests kill from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

WORDS = ["engine=acme", "prompts=acme", "attributor=[acme]", "load.requests=400", "load.batch_size=2"]
WORDS += ["sampling.max_output_tokens=20", "engine.token_ms=5", "run.warmup_rounds=0", "run.idle_s=0", "--no-wait"]


class Tpb:
    """A `tpb` under way in a folder of its own."""

    def __init__(self, folder: Path, *words: str, limit: Callable[[], None] | None = None, environ: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.log = folder / "tpb.log"
        everything = {**os.environ, "TMPDIR": str(folder), **(environ or {})}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tpb_core.cli.main", *WORDS, *words],
                cwd=folder,
                env=everything,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=limit,
            )

    def bundle(self) -> Path:
        return next((self.folder / "runs").glob("2*"))

    def until(self, condition: Callable[[], bool], what: str) -> None:
        give_up_s = time.monotonic() + 30
        while not condition():
            if self.process.poll() is not None or time.monotonic() > give_up_s:
                raise AssertionError(f"{what} did not come; tpb said:\n{self.log.read_text()}")
            time.sleep(0.02)

    def until_window(self, window: str) -> None:
        """The window is open and half a second old, so that its rows are on disk."""
        self.until(lambda: window in self.windows(), f"window {window}")
        time.sleep(0.7)

    def windows(self) -> set[str]:
        text = self.log.read_text()
        shown = {
            "looking for meters": "meters",
            "warming up": "warmup",
            "measuring": "measure",
            "idle, without": "idle_bare",
            "idle, model": "idle",
        }
        return {window for line, window in shown.items() if line in text}

    def children(self) -> dict[str, psutil.Process]:
        """Sampler and worker by the last part of their module."""
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            for word in child.cmdline():
                if word.startswith("tpb_core.run."):
                    found[word.removeprefix("tpb_core.run.")] = child
        return found

    def ended(self, timeout_s: float = 30) -> int:
        return self.process.wait(timeout=timeout_s)

    def manifest(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.bundle() / "manifest.json").read_text())
        return document

    @staticmethod
    def gone(processes: dict[str, psutil.Process], within_s: float = 15) -> bool:
        """Whether all of them end."""
        _, alive = psutil.wait_procs(list(processes.values()), timeout=within_s)
        return not alive


@pytest.fixture
def start(tmp_path: Path, acme: None) -> Iterator[Callable[..., Tpb]]:
    """`start(*words, limit=, environ=)`: a run with the acme engine; name a meter among the words."""
    started: list[Tpb] = []

    def begin(*words: str, **more: Any) -> Tpb:
        started.append(Tpb(tmp_path, *words, **more))
        return started[-1]

    yield begin
    for run in started:
        if run.process.poll() is None:
            run.process.kill()
