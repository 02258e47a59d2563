"""Memory of tpb's client alone: what a process grows by while it holds many open streams."""

from __future__ import annotations

import os
import time
from pathlib import Path

from clients.stand_in import stand_in

from tpb_core.api import EngineContext, Request, Sampling
from tpb_core.testing.engine_session import SuiteClock
from tpb_core.testing.recording_sink import RecordingSink


def grown_mib(count: int) -> float:
    """MiB of resident memory for that many streams, each with a first token and waiting for the next."""
    from tpb_engine_openai import OpenAiConfig, OpenAiEngine

    with stand_in(first_token_s=2.0, token_s=1000.0) as server:
        engine = OpenAiEngine(OpenAiConfig(url=server.url), EngineContext(clock=SuiteClock(), run_id="bench"))
        sink = RecordingSink()
        engine.open(sink)
        engine.submit([Request(0, "warm", Sampling(8), text="a first one")], sink)
        while not sink.requests:
            engine.advance(sink, time.monotonic_ns() + 10**8)
        before = _resident_mib()
        engine.submit([Request(1 + n, str(n), Sampling(8), text="a prompt of a few words") for n in range(count)], sink)
        give_up = time.monotonic() + 60
        while len(sink.requests) < count + 1 and time.monotonic() < give_up:
            engine.advance(sink, time.monotonic_ns() + 10**8)
        grown = _resident_mib() - before
        assert len(sink.requests) == count + 1, f"only {len(sink.requests) - 1} streams are open"
        engine.close()
    return grown


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
