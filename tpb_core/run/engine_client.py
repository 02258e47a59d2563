"""The session's side of the worker protocol: an engine, wherever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tpb_core.api.engine import Capabilities
from tpb_core.api.errors import BadInput, MeasurementFailed
from tpb_core.api.requests import Request
from tpb_core.api.versions import WORKER_PROTOCOL
from tpb_core.run.interruption import Interruption
from tpb_core.run.messages import Message, raise_error
from tpb_core.run.transport import Transport


class EngineClient:
    """One engine. Implements `Tokenizer` for prompt sources. Used by the session's thread only.

    Messages that nobody waits for just now (outcomes, events, windows, process ids) are kept in `mail` until `wait` hands them out.
    """

    def __init__(self, transport: Transport, interruption: Interruption) -> None:
        self.transport = transport
        self.capabilities = Capabilities()
        self.description: dict[str, Any] = {}
        self._interruption = interruption
        self._mail: list[Message] = []
        self._prepared: set[str] = set()
        """Requests that the other end has and that are not submitted yet."""
        self.batch_running = False

    def hello(self, engine: dict[str, Any], bundle: Path, context: dict[str, Any]) -> None:
        """Build the engine at the other end, without loading a model. Raises `BadInput` for options that it refuses."""
        answer = self._ask(
            {"kind": "hello", "protocol": WORKER_PROTOCOL, "engine": engine, "bundle": str(bundle), "context": context}, "hello"
        )
        if answer["protocol"] != WORKER_PROTOCOL:
            raise BadInput(f"the engine's interpreter speaks worker protocol {answer['protocol']}, this session {WORKER_PROTOCOL}")
        self.capabilities = _capabilities(answer["capabilities"])

    def open(self, timeout_s: float, clock_now_ns: int) -> dict[str, Any]:
        """Load the model; returns the manifest key `engine`. What the engine can do may have become less: look at `capabilities` again."""
        answer = self._ask({"kind": "open"}, "opened", until_ns=clock_now_ns + int(timeout_s * 1e9))
        self.description = answer["description"]
        self.capabilities = _capabilities(answer["capabilities"])
        return self.description

    # --- Tokenizer -----------------------------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        ids: list[list[int]] = self._ask({"kind": "encode", "texts": list(texts)}, "encoded")["ids"]
        return ids

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Texts of each list of ids."""
        texts: list[str] = self._ask({"kind": "decode", "ids": [list(row) for row in ids]}, "decoded")["texts"]
        return texts

    def render_chat(self, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """Token ids of each conversation under the model's chat template."""
        ids: list[list[int]] = self._ask({"kind": "render_chat", "conversations": [list(c) for c in conversations]}, "rendered")["ids"]
        return ids

    # --- requests ------------------------------------------------------------------------------------------------------------

    def prepare(self, request: Request) -> None:
        """Hand a request over before it is due, so that `submit` has little left to do."""
        self.transport.send({"kind": "prepare", "requests": [_to_json(request)]})
        self._prepared.add(request.request_id)

    def submit(self, requests: Sequence[Request], *, as_batch: bool) -> None:
        """Send requests: as one static batch, or as streams of their own."""
        self.batch_running = as_batch
        rows = [{"request_id": r.request_id} if r.request_id in self._prepared else _to_json(r) for r in requests]
        self.transport.send({"kind": "run_batch" if as_batch else "submit", "requests": rows})
        self._prepared.difference_update(request.request_id for request in requests)

    def cancel(self, requests: Sequence[int]) -> None:
        """Ask the engine to end requests early."""
        self.transport.send({"kind": "cancel", "requests": list(requests)})

    def wait(self, until_ns: int) -> list[Message]:
        """What came in: at once where there is something, else until `until_ns` at the latest. Raises `Interrupted`, `EngineLost`."""
        if not self._mail:
            message = self.transport.receive(until_ns)
            self._interruption.check()
            if message is not None:
                self._take(message)
        mail, self._mail = self._mail, []
        return mail

    # --- the rest ------------------------------------------------------------------------------------------------------------

    def flush(self) -> Message:
        """Have the step log written to disk; returns `cpu_s` of the worker and `steps_serialised`."""
        return self._ask({"kind": "flush"}, "flushed")

    def next_bundle(self, bundle: Path) -> bool:
        """Go on with another run on the same engine: caches reset (True where the engine can), steps into the new bundle."""
        reset: bool = self._ask({"kind": "reset_caches"}, "caches_reset")["done"]
        self._ask({"kind": "next_bundle", "bundle": str(bundle)}, "bundle_changed")
        self._prepared.clear()
        return reset

    def close(self, patience_ns: int) -> Message | None:
        """End the engine in good order; then end what is left. Returns the worker's last words, None where it had none."""
        try:
            return self._ask({"kind": "close"}, "closed", until_ns=patience_ns, interruptible=False)
        except MeasurementFailed:
            return None
        finally:
            self.transport.end()

    def _ask(self, message: Message, kind: str, *, until_ns: int | None = None, interruptible: bool = True) -> Message:
        self.transport.send(message)
        while True:
            answer = self.transport.receive(until_ns)
            if interruptible:
                self._interruption.check()
            if answer is None:
                if until_ns is not None:
                    raise MeasurementFailed(
                        f"the engine did not answer {message['kind']!r} in time", "Allow it more: engine.start_timeout_s="
                    )
                continue
            if answer["kind"] == kind:
                return answer
            self._take(answer)

    def _take(self, message: Message) -> None:
        if message["kind"] == "error":
            raise_error(message)
        if message["kind"] == "batch_done":
            self.batch_running = False
        else:
            self._mail.append(message)


def _capabilities(fields: Message) -> Capabilities:
    return Capabilities(**{**fields, "sampling": frozenset(fields["sampling"])})


def _to_json(request: Request) -> Message:
    return {
        "request": request.request,
        "request_id": request.request_id,
        "sampling": asdict(request.sampling),
        "input_ids": request.input_ids,
        "text": request.text,
        "messages": request.messages,
        "prompt_id": request.prompt_id,
        "conversation_id": request.conversation_id,
        "turn": request.turn,
    }
