"""The engine's side of the worker protocol: takes messages, drives the engine, reports outcomes. Runs where the engine runs.

In the worker process `tpb_core.run.worker` feeds it from a pipe; on a virtual clock the session calls it directly. What it imports must
fit into any engine's environment: standard library, pyarrow, the plugin.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.engine import Capabilities, Engine, EngineConfig, EngineContext, EngineDescription
from tpb_core.api.errors import BadInput
from tpb_core.api.requests import Request, Sampling, Step
from tpb_core.api.versions import WORKER_PROTOCOL
from tpb_core.run.messages import Message
from tpb_core.run.outcome import Outcome
from tpb_core.run.step_spool import StepSpool

Send = Callable[[Message], None]


class EngineService:
    """One engine under the protocol. Also the `EngineSink` that the engine reports to."""

    def __init__(self, engine: Engine[EngineConfig], distribution: str, bundle: Path, clock: Clock, send: Send) -> None:
        self.engine = engine
        self.distribution = distribution
        self.clock = clock
        self.busy = False
        self._send = send
        self._spool = StepSpool(bundle)
        self._outcomes: dict[int, Outcome] = {}
        self._processes: list[int] = []
        self._prepared: dict[str, Request] = {}

    # --- messages of the session ---------------------------------------------------------------------------------------------

    def handle(self, message: Message) -> None:
        """Do what a message asks and answer it."""
        kind = message["kind"]
        if kind == "open":
            description = self.engine.open(self)
            self._report_processes()
            self._send(
                {"kind": "opened", "description": describe(description), "capabilities": _capabilities(self.engine.own_capabilities())}
            )
        elif kind == "prepare":
            requests = [_request(row) for row in message["requests"]]
            self._prepared |= {request.request_id: request for request in requests}
            self.engine.prepare(requests)
        elif kind == "submit":
            requests = self._accept(message)
            self.engine.submit(requests, self)
            self.busy = True
        elif kind == "run_batch":
            requests = self._accept(message)
            self.engine.run_batch(requests, self)
            self._spool.flush()
            self._send({"kind": "batch_done"})
        elif kind == "cancel":
            if self.busy:  # else all have ended meanwhile
                self.engine.cancel(message["requests"], self)
        elif kind == "encode":
            self._send({"kind": "encoded", "ids": self.engine.tokenizer().encode(message["texts"])})
        elif kind == "decode":
            self._send({"kind": "decoded", "texts": self.engine.tokenizer().decode(message["ids"])})
        elif kind == "render_chat":
            self._send({"kind": "rendered", "ids": self.engine.tokenizer().render_chat(message["conversations"])})
        elif kind == "reset_caches":
            self._send({"kind": "caches_reset", "done": self.engine.reset_caches()})
        elif kind == "next_bundle":
            self._next_bundle(Path(message["bundle"]))
            self._send({"kind": "bundle_changed"})
        elif kind == "flush":
            self.engine.settle(self)
            self._spool.flush()
            self._send({"kind": "flushed", "cpu_s": time.process_time(), "steps_serialised": self._spool.serialised})
        elif kind == "close":
            self.close()
            self._send({"kind": "closed", "cpu_s": time.process_time()})
        else:
            raise BadInput(f"the session sent a message of unknown kind {kind!r}; core and worker are of different versions")

    def advance(self, until_ns: int) -> None:
        """One iteration of the engine, where something is under way."""
        self.busy = self.engine.advance(self, until_ns)
        if not self.busy:
            self._spool.flush()

    def close(self) -> None:
        """End the engine and the step log. Idempotent."""
        self.engine.close()
        self._spool.close()

    def _accept(self, message: Message) -> list[Request]:
        requests = [
            self._prepared.pop(row["request_id"]) if row["request_id"] in self._prepared else _request(row) for row in message["requests"]
        ]
        for request in requests:
            self._outcomes[request.request] = Outcome(request.request)
        return requests

    def _next_bundle(self, bundle: Path) -> None:
        self._spool.close()
        self._prepared.clear()
        self._spool = StepSpool(bundle)

    def _report_processes(self) -> None:
        processes = self.engine.processes()
        if processes != self._processes:
            self._processes = processes
            self._send({"kind": "processes", "pids": processes})

    # --- EngineSink: reports of the engine -----------------------------------------------------------------------------------

    def started(self, request: int, t_ns: int, queued_ns: int | None = None) -> None:
        """See `EngineSink`."""
        outcome = self._outcomes[request]
        outcome.engine_started_ns, outcome.engine_queued_ns = t_ns, queued_ns

    def tokens(self, request: int, t_ns: int, count: int, ids: Any = ()) -> None:
        """See `EngineSink`."""
        outcome = self._outcomes[request]
        if outcome.first_token_ns is None:
            outcome.first_token_ns = t_ns
        if count == 1:
            outcome.token_ns.append(t_ns)
        else:
            outcome.token_ns.extend([t_ns] * count)

    def first_token(self, request: int, t_ns: int) -> None:
        """See `EngineSink`."""
        self._outcomes[request].first_token_ns = t_ns

    def finished(
        self,
        request: int,
        t_ns: int,
        reason: str,
        *,
        input_tokens: int | None,
        output_tokens: int | None,
        cached_tokens: int | None = 0,
        sequences: int = 1,
        preemptions: int | None = 0,
        text: str | None = None,
    ) -> None:
        """See `EngineSink`."""
        outcome = self._outcomes.pop(request)
        outcome.status, outcome.finish_reason, outcome.finished_ns = "ok", reason, t_ns
        outcome.input_tokens, outcome.output_tokens, outcome.cached_tokens = input_tokens, output_tokens, cached_tokens
        outcome.sequences, outcome.preemptions, outcome.text = sequences, preemptions, text
        if outcome.token_ns and output_tokens is not None and len(outcome.token_ns) != output_tokens:
            self.event(
                EventCode.TOKENS_DIFFER,
                f"the engine counts {output_tokens} output tokens and stamped {len(outcome.token_ns)}",
                request,
            )
        self._send({"kind": "outcome", **outcome.to_json()})

    def failed(self, request: int, t_ns: int, status: str, error: str) -> None:
        """See `EngineSink`."""
        outcome = self._outcomes.pop(request)
        outcome.status, outcome.error, outcome.finished_ns = status, error, t_ns
        if outcome.token_ns or outcome.first_token_ns is None:  # else something came out, and nobody knows how many tokens
            outcome.output_tokens = len(outcome.token_ns)
        self._send({"kind": "outcome", **outcome.to_json()})

    def step(self, step: Step) -> None:
        """See `EngineSink`."""
        self._spool.append(step)

    def window(self, name: str, t0_ns: int, t1_ns: int) -> None:
        """See `EngineSink`."""
        self._send({"kind": "window", "window": name, "t0_ns": t0_ns, "t1_ns": t1_ns})

    def event(self, code: EventCode, message: str, request: int | None = None) -> None:
        """See `EngineSink`."""
        self._send({"kind": "event", "t_ns": self.clock.now_ns(), "code": str(code), "message": message, "request": request})


def build_service(
    hello: Message,
    engine_class: type[Engine[EngineConfig]],
    distribution: str,
    clock: Clock,
    send: Send,
    cancelled: Callable[[], Sequence[int]] = tuple,
) -> EngineService:
    """The service for a `hello` message; answers it with the engine's capabilities, before any model is loaded. `cancelled`: requests
    that the session wants to end while it waits for a static batch."""
    if hello["protocol"] != WORKER_PROTOCOL:
        raise BadInput(
            f"the engine's interpreter speaks worker protocol {WORKER_PROTOCOL}, the session {hello['protocol']}",
            "Install the same version of tpb-core in both, or make the environment again with `tpb env create`.",
        )
    config = engine_class.config_class(**hello["engine"])
    context = EngineContext(clock=clock, cancelled=cancelled, **hello["context"])
    engine = engine_class(config, context)
    service = EngineService(engine, distribution, Path(hello["bundle"]), clock, send)
    send({"kind": "hello", "protocol": WORKER_PROTOCOL, "pid": os.getpid(), "capabilities": _capabilities(engine.own_capabilities())})
    return service


def describe(description: EngineDescription) -> dict[str, Any]:
    """The manifest key `engine`."""
    row = {name: getattr(description, name) for name in description.__dataclass_fields__ if name != "extensions"}
    return {**row, **description.extensions}


def _capabilities(capabilities: Capabilities) -> dict[str, Any]:
    return {name: getattr(capabilities, name) for name in capabilities.__dataclass_fields__}


def _request(row: Message) -> Request:
    sampling = dict(row["sampling"])
    sampling["stop"] = tuple(sampling.get("stop", ()))
    return Request(**{**row, "sampling": Sampling(**sampling)})
