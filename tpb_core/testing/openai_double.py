"""A stand-in for an OpenAI-compatible server, for tests and benches of clients: `python -m tpb_core.testing.openai_double --port N`.

Behaves like vLLM unless told otherwise, makes its tokens up (ids are bytes, one token a piece of text), and streams them at a fixed
pace. What goes wrong is asked for in the request, with the field `double`: `{"status": 429}`, `{"drop_after": 3}`, ... (`Faults`).
Standard library only; one asyncio loop.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tpb_core.testing.openai_double_stream import Counters, Stream

MODEL = "double"


@dataclass
class DoubleSettings:
    """How the stand-in behaves. Times in seconds."""

    owner: str = "vllm"
    """`owned_by` of its model."""
    first_token_s: float = 0.002
    prompt_token_s: float = 0.0
    """Further time to the first token for each token of the prompt."""
    token_s: float = 0.005
    models: tuple[str, ...] = (MODEL,)
    api_key: str | None = None
    energy_w: float | None = None
    """Power behind GET /energy_metrics; None: it has no such page."""
    has_metrics: bool = True
    keeps_bodies: bool = True
    """Keep the body of each request for tests; the command does not."""
    missing: frozenset[str] = field(default_factory=frozenset)
    """Paths that answer 404."""


class _Connection(asyncio.Protocol):
    """One client: requests come one after the other."""

    def __init__(self, settings: DoubleSettings, counters: Counters, open_ones: set[asyncio.Transport]) -> None:
        self._settings, self._counters, self._open_ones = settings, counters, open_ones
        self._buffer = bytearray()
        self._stream: Stream | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_ones.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_ones.discard(self._transport)
        if self._stream is not None:
            self._stream.cancel()

    def data_received(self, data: bytes) -> None:
        came_ns = time.monotonic_ns()
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            length = int(headers.get("content-length", "0"))
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            method, path, _ = head[0].split(" ", 2)
            self._answer(method, path, headers, body, came_ns)

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes, came_ns: int) -> None:
        settings = self._settings
        if settings.api_key is not None and headers.get("authorization") != f"Bearer {settings.api_key}":
            self._reply(401, {"error": {"message": "wrong key", "code": 401}})
        elif path in settings.missing:
            self._reply(404, {"detail": "Not Found"})
        elif method == "GET":
            self._page(path)
        elif path in ("/v1/completions", "/v1/chat/completions"):
            self._complete(path, json.loads(body), came_ns)
        elif path == "/tokenize":
            self._reply(200, {"tokens": _tokens_of(json.loads(body))})
        elif path == "/detokenize":
            self._reply(200, {"prompt": bytes(json.loads(body)["tokens"]).decode("utf-8", "replace")})
        elif path == "/reset_prefix_cache":
            self._reply(200, {})
        else:
            self._reply(404, {"detail": "Not Found"})

    def _page(self, path: str) -> None:
        settings = self._settings
        if path == "/v1/models":
            rows = [{"id": name, "object": "model", "owned_by": settings.owner, "max_model_len": 131072} for name in settings.models]
            self._reply(200, {"object": "list", "data": rows})
        elif path == "/version":
            self._reply(200, {"version": "0.0-double"})
        elif path == "/health":
            self._reply(200, {})
        elif path == "/double/stamps":
            self._reply(200, self._counters.take_stamps())
        elif path == "/metrics" and settings.has_metrics:
            self._send(200, "text/plain; version=0.0.4", self._counters.text().encode())
        elif path == "/energy_metrics" and settings.energy_w is not None:
            self._reply(200, {"total_energy_j": settings.energy_w * asyncio.get_running_loop().time(), "query_time": 0.0})
        else:
            self._reply(404, {"detail": "Not Found"})

    def _complete(self, path: str, body: dict[str, Any], came_ns: int) -> None:
        double = body.get("double") or {}
        if self._settings.keeps_bodies:
            self._counters.received.append((asyncio.get_running_loop().time(), body))
        if double.get("silent"):
            return
        if "status" in double:
            self._reply(int(double["status"]), {"error": {"message": "as you asked", "type": "double", "code": int(double["status"])}})
            return
        settings = self._settings
        count = len(_tokens_of(body))
        pace = (settings.first_token_s + settings.prompt_token_s * count, settings.token_s)
        self._stream = Stream(
            body, double, count, chat="chat" in path, arrived_ns=came_ns, pace=pace, transport=self._transport, counters=self._counters
        )

    def _reply(self, status: int, document: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(document).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def _tokens_of(body: dict[str, Any]) -> list[int]:
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        return prompt
    if isinstance(prompt, str):
        return list(prompt.encode())
    return [token for message in body.get("messages") or [] for token in str(message.get("content")).encode()] + [0, 0, 0]


class OpenAiDouble:
    """The stand-in in a thread of this process: a context manager."""

    def __init__(self, settings: DoubleSettings | None = None, port: int = 0) -> None:
        self.settings = settings or DoubleSettings()
        self.counters = Counters()
        self._open_ones: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self.settings, self.counters, self._open_ones), "127.0.0.1", port, backlog=4096)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="openai-double", daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> OpenAiDouble:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._close)
        self._thread.join(5.0)
        self._loop.close()

    def _close(self) -> None:
        self._server.close()
        for transport in list(self._open_ones):
            transport.abort()
        self._loop.call_later(0.02, self._loop.stop)  # transports report their end on the next rounds of the loop

    def serve_forever(self) -> None:
        """In this thread."""
        self._loop.run_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--first-token-s", type=float, default=0.002)
    parser.add_argument("--token-s", type=float, default=0.005)
    words = parser.parse_args()
    gc.disable()  # nothing here goes round in circles, and a pause would look like the client's
    double = OpenAiDouble(DoubleSettings(first_token_s=words.first_token_s, token_s=words.token_s, keeps_bodies=False), words.port)
    print(double.url, flush=True)
    double.serve_forever()


if __name__ == "__main__":
    main()
