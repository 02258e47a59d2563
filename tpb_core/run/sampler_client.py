"""The session's side of the sampler: a process that outlives it, or timers on a virtual clock."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tpb_core.api.errors import MeasurementFailed
from tpb_core.run.clock import VirtualClock
from tpb_core.run.messages import Connection, ConnectionLost, Message, raise_error
from tpb_core.run.sampler import Sampler

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0


class SamplerLost(MeasurementFailed):
    """The sampler vanished or cannot write; going on would mean to measure nothing."""


class SamplerClient(Protocol):
    """What the session needs of a sampler."""

    def start(self, meters: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Discover and open; see `Sampler.start`."""

    def guard(self, groups: Sequence[int]) -> None:
        """Process groups to end when this process goes away."""

    def control_power(self, limit_w: float | None, clock_mhz: int | None) -> dict[str, float]:
        """Set power limit and clock of the run's devices; see `Sampler.control_power`."""

    def engine_started(self, pids: Sequence[int]) -> None:
        """The engine's processes."""

    def edge(self, window: str) -> None:
        """A window begins or ends."""

    def check(self) -> None:
        """Raise `SamplerLost` where the sampler is gone or its disk is full. Costs one system call."""

    def latest(self) -> dict[str, tuple[int, float]]:
        """Time and value of each channel's last reading."""

    def overhead(self) -> dict[str, Any]:
        """What sampling cost so far."""

    def stop(self) -> dict[str, Any]:
        """End it; returns what sampling cost. Idempotent."""


class LocalSampler:
    """On a virtual clock: each meter is a timer that fires while the engine sleeps through its steps."""

    def __init__(self, bundle: Path, clock: VirtualClock, context: dict[str, Any]) -> None:
        self._clock = clock
        self._sampler = Sampler(bundle, clock, context)

    def start(self, meters: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Discover, read once, and set the timers."""
        started = self._sampler.start(meters)
        self._sampler.read_due()
        for schedule in self._sampler.schedules.values():
            self._clock.every(schedule.interval_ns, self._sampler.read_due)
        return started

    def guard(self, groups: Sequence[int]) -> None:
        """Nothing to guard: engine and sampler live in this process."""

    def control_power(self, limit_w: float | None, clock_mhz: int | None) -> dict[str, float]:
        """See `SamplerClient`."""
        return self._sampler.control_power(limit_w, clock_mhz)

    def engine_started(self, pids: Sequence[int]) -> None:
        """See `SamplerClient`."""
        self._sampler.engine_started(pids)

    def edge(self, window: str) -> None:
        """See `SamplerClient`."""
        self._sampler.at_window_edge(window)

    def check(self) -> None:
        """Cannot get lost."""

    def latest(self) -> dict[str, tuple[int, float]]:
        """See `SamplerClient`."""
        return dict(self._sampler.latest)

    def overhead(self) -> dict[str, Any]:
        """See `SamplerClient`."""
        return self._sampler.overhead()

    def stop(self) -> dict[str, Any]:
        """See `SamplerClient`."""
        self._clock.stop_timers()
        return self._sampler.stop()


class ProcessSampler:
    """The real thing: a process with its own interpreter state, in a session of its own so that Ctrl-C does not reach it."""

    def __init__(self, bundle: Path, context: dict[str, Any]) -> None:
        self._bundle, self._context = bundle, context
        self._log = bundle / "sampler.log"
        with self._log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tpb_core.run.sampler_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                bufsize=0,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._connection = Connection(os.dup(self._process.stdout.fileno()), os.dup(self._process.stdin.fileno()))
        self._process.stdin.close()
        self._process.stdout.close()
        self._stopped: dict[str, Any] | None = None

    def start(self, meters: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """See `SamplerClient`."""
        self._send({"kind": "start", "bundle": str(self._bundle), "context": self._context, "meters": meters})
        return self._answer("started", _START_TIMEOUT_S)

    def guard(self, groups: Sequence[int]) -> None:
        """See `SamplerClient`."""
        self._send({"kind": "guard", "groups": list(groups)})

    def control_power(self, limit_w: float | None, clock_mhz: int | None) -> dict[str, float]:
        """See `SamplerClient`."""
        self._send({"kind": "control_power", "limit_w": limit_w, "clock_mhz": clock_mhz})
        effective: dict[str, float] = self._answer("power_controlled", _STOP_TIMEOUT_S)["effective_w"]
        return effective

    def engine_started(self, pids: Sequence[int]) -> None:
        """See `SamplerClient`."""
        self._send({"kind": "engine_started", "pids": list(pids)})

    def edge(self, window: str) -> None:
        """See `SamplerClient`."""
        self._send({"kind": "edge", "window": window})

    def check(self) -> None:
        """See `SamplerClient`."""
        try:
            message = self._connection.receive(0.0)
        except ConnectionLost:
            raise self._lost() from None
        if message is not None:
            self._unexpected(message)

    def latest(self) -> dict[str, tuple[int, float]]:
        """See `SamplerClient`."""
        self._send({"kind": "latest"})
        readings = self._answer("latest", _STOP_TIMEOUT_S)["readings"]
        return {channel: (int(t_ns), float(value)) for channel, (t_ns, value) in readings.items()}

    def overhead(self) -> dict[str, Any]:
        """See `SamplerClient`."""
        self._send({"kind": "overhead"})
        return self._answer("overhead", _STOP_TIMEOUT_S)

    def stop(self) -> dict[str, Any]:
        """See `SamplerClient`. A sampler that is gone or does not end is ended."""
        if self._stopped is None:
            self._stopped = {}
            try:
                self._send({"kind": "stop"})
                self._stopped = self._answer("stopped", _STOP_TIMEOUT_S)
            except SamplerLost:
                pass  # said before, by whoever noticed; here only its end matters
            finally:
                self._connection.close()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=5)
                if self._process.poll() is None:
                    self._process.kill()
                    self._process.wait()
        return self._stopped

    def _send(self, message: Message) -> None:
        try:
            self._connection.send(message)
        except ConnectionLost:
            raise self._lost() from None

    def _answer(self, kind: str, timeout_s: float) -> dict[str, Any]:
        while True:
            try:
                message = self._connection.receive(timeout_s)
            except ConnectionLost:
                raise self._lost() from None
            if message is None:
                raise SamplerLost(f"the sampler did not answer within {timeout_s:g} s", f"Its output is in {self._log}")
            if message["kind"] == kind:
                return {key: value for key, value in message.items() if key != "kind"}
            self._unexpected(message, stopping=kind == "stopped")

    def _unexpected(self, message: Message, *, stopping: bool = False) -> None:
        if message["kind"] == "error":
            raise_error(message)
        if message["kind"] == "disk_full" and not stopping:
            raise SamplerLost(message["what"], "Free some space or move the results with out.dir=; what was written is kept.")

    def _lost(self) -> SamplerLost:
        code = self._process.poll()
        how = "went silent" if code is None else f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return SamplerLost(f"the sampler {how}", f"Its output is in {self._log}")
