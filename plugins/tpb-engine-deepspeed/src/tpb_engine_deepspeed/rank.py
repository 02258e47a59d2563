"""One further process of tensor parallelism: `python -m tpb_engine_deepspeed.rank`, started by `ranks`.

Its input is one line with the options, one that says go, then a line of requests for each batch; the end of input ends it at once, even
inside a collective operation that will never return. It reports to nobody: the first rank does.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from tpb_core.api import EventCode, Request, Sampling, Step
from tpb_engine_deepspeed.config import DeepSpeedConfig
from tpb_engine_deepspeed.ranks import GO, LOADED


class SilentSink:
    """Takes reports and drops them."""

    def started(self, request: int, t_ns: int, queued_ns: int | None = None) -> None:
        """Dropped."""

    def tokens(self, request: int, t_ns: int, count: int, ids: Sequence[int] = ()) -> None:
        """Dropped."""

    def finished(self, request: int, t_ns: int, reason: str, **counts: Any) -> None:
        """Dropped."""

    def failed(self, request: int, t_ns: int, status: str, error: str) -> None:
        """Dropped."""

    def step(self, step: Step) -> None:
        """Dropped."""

    def window(self, name: str, t0_ns: int, t1_ns: int) -> None:
        """Dropped."""

    def event(self, code: EventCode, message: str, request: int | None = None) -> None:
        """Goes to the log."""
        print(code, message, file=sys.stderr)


class RankClock:
    """CLOCK_MONOTONIC; its stamps go nowhere."""

    virtual = False

    def now_ns(self) -> int:
        """In ns."""
        return time.monotonic_ns()

    def sleep_until(self, t_ns: int) -> None:
        """Sleep until `t_ns`."""
        time.sleep(max(0.0, (t_ns - self.now_ns()) / 1e9))


def requests_of(line: str) -> list[Request]:
    """The requests that a line of input holds."""
    made = []
    for row in json.loads(line):
        sampling = row.pop("sampling")
        made.append(Request(sampling=Sampling(**{**sampling, "stop": tuple(sampling["stop"])}), **row))
    return made


def main() -> None:
    """Load, join, and run what comes in."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # DeepSpeed prints
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line.strip())
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    config = DeepSpeedConfig(**json.loads(lines.get()))

    from tpb_engine_deepspeed import inference
    from tpb_engine_hf.source import locate

    prepared = inference.prepare(config, locate(config))
    answers.write(LOADED + "\n")
    answers.flush()
    assert lines.get() == GO
    batches = inference.wrap(config, prepared, RankClock()).batches
    while True:
        batches.run(requests_of(lines.get()), SilentSink())


if __name__ == "__main__":
    main()
