"""The engine worker process: `python -m tpb_core.run.worker`, in the engine's own interpreter.

Speaks the worker protocol on standard input and output; what the engine's library prints goes to standard error, which the session
keeps as `worker.log`. The process dies with its parent.

    python -m tpb_core.run.worker --describe NAME    prints the options of an engine in this interpreter as JSON
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

from tpb_core.api.units import NS_PER_MS, NS_PER_S
from tpb_core.run.clock import RealClock
from tpb_core.run.engine_service import EngineService, build_service
from tpb_core.run.inbox import Inbox
from tpb_core.run.messages import Connection, ConnectionLost, error_message

_PR_SET_PDEATHSIG = 1
_ITERATION_NS = 50 * NS_PER_MS


def main(argv: list[str]) -> int:
    """Serve one session, or describe an engine."""
    if argv[:1] == ["--describe"]:
        from tpb_core.run.worker_description import describe_engine

        print(json.dumps(describe_engine(argv[1])))
        return 0
    connection = _take_over_standard_streams()
    _die_with_parent()
    return serve(connection)


def serve(connection: Connection) -> int:
    """Answer messages until the session says `close` or goes away. An error of the engine is a message, not the end."""
    from tpb_core import drivers

    clock = RealClock()
    inbox = Inbox(connection, clock)
    service: EngineService | None = None
    phase = "starting"
    distribution = "the engine"
    try:
        while True:
            try:
                if service is not None and service.busy:
                    report_fd = service.engine.report_fd()
                    patience_ns = 0 if report_fd is None else _ITERATION_NS
                    message = inbox.receive(patience_ns / NS_PER_S, also=report_fd)
                    if message is None:
                        phase = "running requests"
                        service.advance(clock.now_ns() + _ITERATION_NS - patience_ns)
                        continue
                else:
                    message = inbox.receive()
                assert message is not None
                phase = _PHASES.get(message["kind"], str(message["kind"]))
                if message["kind"] == "hello":
                    name = str(message["engine"]["name"])
                    engine_class = drivers.load("tpb.engines", name)
                    distribution = drivers.find("tpb.engines", name).distribution
                    service = build_service(message, engine_class, distribution, clock, connection.send, inbox.cancelled)
                    continue
                assert service is not None, "the first message is hello"
                service.handle(message)
                if message["kind"] == "close":
                    return 0
            except ConnectionLost:
                raise
            except Exception as error:  # every fault of an engine is told to the session, which decides
                if service is not None:
                    service.busy = False
                connection.send(error_message(error, phase, distribution))
    except ConnectionLost:
        if service is not None:
            service.close()
        return 1


_PHASES = {"open": "loading the model", "submit": "accepting requests", "run_batch": "running a batch", "close": "closing"}


def _take_over_standard_streams() -> Connection:
    """Keep the pipes for the protocol and give the engine's library /dev/null to read and the log to print to."""
    read_fd, write_fd = os.dup(0), os.dup(1)
    devnull = os.open(os.devnull, os.O_RDONLY)
    os.dup2(devnull, 0)
    os.close(devnull)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return Connection(read_fd, write_fd)


def _die_with_parent() -> None:
    """Linux: SIGKILL when the session goes away, also in the middle of a long call into the engine's library."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the session's business
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
