"""Where an engine stays between two runs: nowhere (`run.isolation=process`), or here (`run.isolation=engine`)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from tpb_core import drivers
from tpb_core.api.clock import Clock
from tpb_core.api.errors import MeasurementFailed
from tpb_core.config.schema import Point
from tpb_core.run.clock import RealClock, VirtualClock
from tpb_core.run.engine_client import EngineClient
from tpb_core.run.interruption import Interruption
from tpb_core.run.transport import LocalTransport, ProcessTransport, Transport


class EngineShelf:
    """Context manager around the runs of a study; also holds the interruption that all of them listen to.

    `max_concurrency` and `max_context_tokens` are the most that any point will ask for, so that a kept engine is loaded with room for all.
    """

    def __init__(self, *, keep: bool = False, max_concurrency: int = 1, max_context_tokens: int | None = None) -> None:
        self.interruption = Interruption()
        self._keep, self._max_concurrency, self._max_context_tokens = keep, max_concurrency, max_context_tokens
        self._kept: tuple[str, EngineClient] | None = None

    def __enter__(self) -> EngineShelf:
        self.interruption.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.clear()
        finally:
            self.interruption.__exit__(kind, error, trace)

    def clock_for(self, point: Point) -> Clock:
        """The clock of a run: virtual where the engine is a simulated one."""
        if point.engine.get("python") is None and drivers.load("tpb.engines", point.engine["name"]).capabilities.virtual_time:
            return VirtualClock()
        return RealClock()

    def take(self, point: Point, bundle: Path, clock: Clock, context: dict[str, Any]) -> tuple[EngineClient, bool]:
        """An engine that has said hello, and whether it is loaded already (kept from the run before, caches reset)."""
        context["max_concurrency"] = max(context["max_concurrency"], self._max_concurrency)
        if self._keep:
            context["max_context_tokens"] = self._max_context_tokens
        key = _key(point, context)
        if self._kept is not None:
            kept_key, client = self._kept
            self._kept = None
            if kept_key == key:
                try:
                    client.next_bundle(bundle)
                except MeasurementFailed:
                    client.transport.end()  # died between two runs: begin afresh
                else:
                    return client, True
            else:
                client.close(clock.now_ns() + 30_000_000_000)
        client = EngineClient(self._transport(point, bundle, clock), self.interruption)
        try:
            client.hello(point.engine, bundle, context)
        except BaseException:
            client.transport.end()
            raise
        return client, False

    def give_back(self, point: Point, client: EngineClient, clock: Clock, context: dict[str, Any], *, healthy: bool) -> Any:
        """The run is over: keep the engine or end it. Returns the worker's last words, None where it is kept or had none."""
        if self._keep and healthy and not clock.virtual:
            self._kept = (_key(point, context), client)
            return None
        return client.close(clock.now_ns() + 30_000_000_000)

    def clear(self) -> None:
        """End a kept engine."""
        if self._kept is not None:
            client, self._kept = self._kept[1], None
            client.close(RealClock().now_ns() + 30_000_000_000)

    def _transport(self, point: Point, bundle: Path, clock: Clock) -> Transport:
        if isinstance(clock, VirtualClock):
            return LocalTransport(clock)
        assert isinstance(clock, RealClock)
        return ProcessTransport(
            point.engine.get("python") or sys.executable, bundle / "worker.log", clock, self.interruption, dict(os.environ)
        )


def _key(point: Point, context: dict[str, Any]) -> str:
    """What two runs must have in common to use the same engine."""
    return json.dumps([point.engine, context["max_concurrency"], context["max_context_tokens"]], sort_keys=True, default=str)
