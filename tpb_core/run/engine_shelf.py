"""Where an engine stays between two runs: nowhere (`run.isolation=process`), or here (`run.isolation=engine`)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import platformdirs

from tpb_core import drivers
from tpb_core.api.clock import Clock
from tpb_core.api.errors import BadInput, MeasurementFailed
from tpb_core.config.schema import Point
from tpb_core.run.clock import RealClock, VirtualClock
from tpb_core.run.engine_client import EngineClient
from tpb_core.run.interruption import Interruption
from tpb_core.run.transport import LocalTransport, ProcessTransport, Transport


class EngineShelf:
    """Context manager around the runs of a study; also holds the interruption that all of them listen to.

    `max_concurrency` is the most that any point will ask for, so that a kept engine is loaded with room for all.
    """

    def __init__(self, *, keep: bool = False, max_concurrency: int = 1) -> None:
        self.interruption = Interruption()
        self._keep, self._max_concurrency = keep, max_concurrency
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
        key = json.dumps([point.engine, context["max_concurrency"]], sort_keys=True, default=str)
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
            self._kept = (json.dumps([point.engine, context["max_concurrency"]], sort_keys=True, default=str), client)
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
            engine_interpreter(point.engine.get("python")), bundle / "worker.log", clock, self.interruption, dict(os.environ)
        )


def engine_interpreter(python: str | None) -> str:
    """The interpreter behind `engine.python`: a path, the name of an environment made by `tpb env create`, or this one for None."""
    if python is None:
        return sys.executable
    named = environments_folder() / python / "bin" / "python"
    if os.sep not in python and named.exists():
        return str(named)
    if not Path(python).exists():
        known = sorted(path.name for path in environments_folder().glob("*/") if (path / "bin" / "python").exists())
        raise BadInput(
            f"engine.python={python}: no such interpreter, and no environment of that name",
            f"Environments: {', '.join(known) or 'none'}. Make one:  tpb env create {Path(python).name}",
        )
    return str(Path(python).absolute())


def environments_folder() -> Path:
    """Where `tpb env create` puts environments."""
    return Path(platformdirs.user_data_dir("tpb")) / "envs"
