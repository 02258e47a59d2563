"""The sampler process: `python -m tpb_core.run.sampler_process`. Outlives the engine and the session; guards the bundle.

Messages from the session: `start` (once, first), `guard` (process groups of the engine), `engine_started`, `edge`,
`control_power`, `latest`, `overhead`, `stop`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

from tpb_core.api.errors import TpbError
from tpb_core.api.units import NS_PER_S
from tpb_core.run.clock import RealClock
from tpb_core.run.guardian import take_over
from tpb_core.run.messages import Connection, ConnectionLost, Message, error_message
from tpb_core.run.sampler import Sampler
from tpb_core.store.live import hold_live


class SamplerProcess:
    """The loop of the process: readings when they are due, messages in between."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._clock = RealClock()
        self._groups: set[int] = set()
        self._told: set[str] = set()

    def run(self) -> int:
        """Serve one session to its end, or take over from it."""
        try:
            start = self._connection.receive()
        except ConnectionLost:
            return 1
        assert start is not None
        bundle = Path(start["bundle"])
        live = hold_live(bundle)
        sampler = Sampler(bundle, self._clock, start["context"])
        try:
            try:
                self._connection.send({"kind": "started", **sampler.start(start["meters"])})
            except ConnectionLost:
                raise
            except Exception as error:
                self._connection.send(error_message(error, "starting the meters", "the sampler"))
                if not isinstance(error, TpbError):
                    raise
            gc.collect()
            gc.freeze()  # what was imported stays; collections during the run look at young objects only
            while self._serve_one(sampler):
                pass
        except ConnectionLost:
            take_over(sampler, self._groups, bundle)
            return 1
        finally:
            live.close()
        return 0

    def _serve_one(self, sampler: Sampler) -> bool:
        due_ns = sampler.next_due_ns()
        wait_s = 1.0 if due_ns is None else (due_ns - self._clock.now_ns()) / NS_PER_S
        message = self._connection.receive(max(0.0, wait_s))
        if message is not None:
            return self._handle(sampler, message)
        try:
            sampler.read_due()
        except OSError as error:
            self._tell_once({"kind": "disk_full", "what": f"the sampler cannot write: {error.strerror}"})
        return True

    def _control_power(self, sampler: Sampler, message: Message) -> None:
        try:
            effective = sampler.control_power(message["limit_w"], message["clock_mhz"])
        except Exception as error:
            self._connection.send(error_message(error, "setting the power limit", "a meter"))
        else:
            self._connection.send({"kind": "power_controlled", "effective_w": effective})

    def _tell_once(self, message: Message) -> None:
        if message["kind"] not in self._told:
            self._told.add(message["kind"])
            self._connection.send(message)

    def _handle(self, sampler: Sampler, message: Message) -> bool:
        kind = message["kind"]
        if kind == "guard":
            self._groups = set(message["groups"])
        elif kind == "engine_started":
            sampler.engine_started(message["pids"])
        elif kind == "edge":
            sampler.at_window_edge(message["window"])
        elif kind == "control_power":
            self._control_power(sampler, message)
        elif kind == "latest":
            self._connection.send({"kind": "latest", "readings": sampler.latest})
        elif kind == "overhead":
            self._connection.send({"kind": "overhead", **sampler.overhead()})
        elif kind == "stop":
            self._connection.send({"kind": "stopped", **sampler.stop()})
            return False
        return True


def main() -> int:
    """Take the pipes over: what a vendor's library prints must not get into the protocol."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ends with its session, after having put things right
    connection = Connection(os.dup(0), os.dup(1))
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return SamplerProcess(connection).run()


if __name__ == "__main__":
    sys.exit(main())
