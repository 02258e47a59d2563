"""Short questions to a server, one after the other, outside of any measurement: what it is, whether it is ready, its tokenizer."""

from __future__ import annotations

import http.client
import json
import ssl
from types import TracebackType
from typing import Any

from tpb_core.api import Reason, Unavailable
from tpb_engine_openai.address import Address

_LARGEST = 1 << 26


class NoAnswer(Unavailable):
    """Nobody listens at the address, or what answers is no HTTP."""

    def __init__(self, address: Address, cause: BaseException) -> None:
        super().__init__(
            f"{address} does not answer: {getattr(cause, 'strerror', None) or cause or type(cause).__name__}",
            reason=Reason.UNREACHABLE,
            fix="Check the address and that the server runs:  curl " + f"{address}/v1/models",
        )


class Questions:
    """One connection that is kept while questions are asked. A context manager; not for more than one thread."""

    def __init__(self, address: Address, headers: dict[str, str] | None = None, timeout_s: float = 10.0) -> None:
        self.address, self._headers = address, headers or {}
        if address.secure:
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                address.host, address.port, timeout=timeout_s, context=ssl.create_default_context()
            )
        else:
            self._connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)

    def __enter__(self) -> Questions:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next question opens another one."""
        self._connection.close()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """Status and body of GET, or of POST with a JSON body. Raises NoAnswer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, **({} if data is None else {"Content-Type": "application/json"})}
        fresh = self._connection.sock is None
        try:
            try:
                return self._exchange(path, data, headers)
            except (ConnectionError, http.client.RemoteDisconnected):
                if fresh:
                    raise
                self._connection.close()  # it was idle, and the server had closed it meanwhile
                return self._exchange(path, data, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise NoAnswer(self.address, error) from error

    def _exchange(self, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        self._connection.request("GET" if data is None else "POST", self.address.prefix + path, data, headers)
        reply = self._connection.getresponse()
        return reply.status, reply.read(_LARGEST)

    def ask_json(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The JSON object of an answer with status 200; None for any other answer. Raises NoAnswer."""
        status, data = self.ask(path, body)
        if status != 200:
            return None
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None
