"""The client: many requests at once over one event loop in a thread of its own. Nothing is ever sent twice."""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from tpb_core.api.units import NS_PER_S
from tpb_engine_openai.address import Address
from tpb_engine_openai.answer import Answer
from tpb_engine_openai.exchange import Connection, Ended, Exchange, Report
from tpb_engine_openai.reporting_loop import ReportingLoop

_IDLE_NS = NS_PER_S
"""A connection that was idle for longer is not used again: the server may be closing it at this moment."""
_DESCRIPTORS = 1 << 16


@dataclass(frozen=True)
class ClientLimits:
    """Seconds until a request, or the connection for it, is given up."""

    request_s: float
    connect_s: float


class StreamClient:
    """`send`, `cancel`, `take` and `close` are called by one thread; the rest happens in the loop's."""

    def __init__(self, address: Address, headers: dict[str, str], limits: ClientLimits, now_ns: Callable[[], int]) -> None:
        self._address, self._limits, self._now_ns = address, limits, now_ns
        lines = {
            "Host": address.host_header,
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            **headers,
        }
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._ssl = ssl.create_default_context() if address.secure else None
        self._under_way: dict[int, Exchange] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        _raise_descriptor_limit()
        self._reporting: ReportingLoop[Report] = ReportingLoop("openai-streams", now_ns)
        self._loop = self._reporting.loop
        self.fileno, self.wait, self.take = self._reporting.fileno, self._reporting.wait, self._reporting.take

    # --- called by the engine --------------------------------------------------------------------------------------------------

    def send(self, path: str, body: bytes, answer: Answer) -> None:
        """Begin a request; returns at once. Its end is reported whatever happens."""
        head = f"POST {self._address.prefix}{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n"
        exchange = Exchange(answer, head.encode("latin-1") + body)
        self._loop.call_soon_threadsafe(self._begin, exchange)

    def cancel(self, request: int) -> None:
        """Give a request up: its connection is closed. Nothing happens where it has ended."""
        self._loop.call_soon_threadsafe(self._give_up, request, "cancelled", "cancelled by the client")

    def close(self) -> None:
        """Close all connections and end the thread. Idempotent."""
        self._reporting.close(self._close_connections, 5.0)

    # --- in the loop's thread: Owner of connections ----------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """See `Owner`. Ends wake the engine; tokens wait until it looks."""
        if isinstance(report, Ended):
            self._under_way.pop(report.request, None)
        self._reporting.report(report, wake=isinstance(report, Ended))

    def released(self, connection: Connection, *, reusable: bool) -> None:
        """See `Owner`."""
        if reusable and not connection.lost:
            self._idle.append(connection)
        else:
            self._open.discard(connection)
            connection.abort()

    def _begin(self, exchange: Exchange) -> None:
        self._under_way[exchange.request] = exchange
        words = f"not answered within {self._limits.request_s:g} s"
        exchange.timer = self._loop.call_later(self._limits.request_s, self._give_up, exchange.request, "timeout", words)
        connection = self._idle_connection()
        if connection is not None:
            connection.begin(exchange)
            return
        task = self._loop.create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _idle_connection(self) -> Connection | None:
        oldest_ns = self._now_ns() - _IDLE_NS
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost and connection.idle_since_ns >= oldest_ns:
                return connection
            self._open.discard(connection)
            connection.abort()
        return None

    async def _connect(self, exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(self._limits.connect_s):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self, self._now_ns), self._address.host, self._address.port, ssl=self._ssl
                )
        except TimeoutError:
            self._fail(exchange, f"no connection to {self._address} within {self._limits.connect_s:g} s")
        except OSError as error:
            self._fail(exchange, f"no connection to {self._address}: {error.strerror or error}")
        else:
            if exchange.over:
                connection.abort()
            else:
                self._open.add(connection)
                connection.begin(exchange)

    def _fail(self, exchange: Exchange, words: str) -> None:
        if not exchange.over:
            exchange.over = True
            if exchange.timer is not None:
                exchange.timer.cancel()
            self.report(Ended(exchange.request, self._now_ns(), "error", words, exchange.answer))

    def _give_up(self, request: int, status: str, words: str) -> None:
        exchange = self._under_way.get(request)
        if exchange is None or exchange.over:
            return
        exchange.over = True
        if exchange.timer is not None:
            exchange.timer.cancel()
        if exchange.connection is not None:
            self._open.discard(exchange.connection)
            exchange.connection.abort()
        self.report(Ended(request, self._now_ns(), status, words, exchange.answer))

    async def _close_connections(self) -> None:
        for exchange in self._under_way.values():
            exchange.over = True
            if exchange.timer is not None:
                exchange.timer.cancel()
        for task in self._connecting:
            task.cancel()
        for connection in self._open:
            connection.abort()
        self._idle.clear()
        self._open.clear()
        self._under_way.clear()
        await asyncio.sleep(0.02)  # transports report their end on the next rounds of the loop


def _raise_descriptor_limit() -> None:
    """Each stream is a descriptor; the usual soft limit of 1,024 is a habit, not a need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
