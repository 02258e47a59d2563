"""One request on one connection: sends it, follows the reply, and says what came when. Lives in the thread of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tpb_engine_openai.answer import Answer, ServerSaid, error_of, read_json
from tpb_engine_openai.http_reply import BadReply, HttpReply
from tpb_engine_openai.sse import EventStream, EventTooLarge

_LONGEST_ERROR = 1 << 16


class Tokens(NamedTuple):
    """Tokens that came together."""

    request: int
    t_ns: int
    number: int
    ids: list[int]


class FirstText(NamedTuple):
    """Text came, and nobody says how many tokens it is."""

    request: int
    t_ns: int


class Ended(NamedTuple):
    """The end of an exchange: `status` is `ok`, or how it failed, with the words for it."""

    request: int
    t_ns: int
    status: str
    error: str
    answer: Answer


Report = Tokens | FirstText | Ended


class Owner(Protocol):
    """Who hands out connections and takes reports."""

    def report(self, report: Report) -> None: ...
    def released(self, connection: Connection, *, reusable: bool) -> None: ...


class Exchange:
    """The state of one request while it is under way."""

    __slots__ = ("answer", "connection", "events", "over", "plain", "reply", "timer", "wire")

    def __init__(self, answer: Answer, wire: bytes) -> None:
        self.answer = answer
        self.wire = wire
        """Head and body of the request as they are sent."""
        self.reply = HttpReply()
        self.events: EventStream | None = None
        self.plain = bytearray()
        """A reply that is no event stream."""
        self.over = False
        self.connection: Connection | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def request(self) -> int:
        """Ordinal of the request."""
        return self.answer.request.request

    def take(self, data: bytes, t_ns: int, report: Callable[[Report], None]) -> bool:
        """Bytes of the reply. True at its end. Raises ServerSaid, BadReply, EventTooLarge."""
        was_blind = self.answer.without_stamps
        body = self.reply.feed(data)
        if body:
            if self.events is None and self._is_stream():
                self.events = EventStream()
            if self.events is None:
                self.plain += body
            else:
                for event in self.events.feed(body):
                    self._event(event, t_ns, report)
        if self.answer.without_stamps and not was_blind:
            report(FirstText(self.request, t_ns))
        return self.reply.complete

    def finish(self, t_ns: int, report: Callable[[Report], None]) -> None:
        """The reply is complete. Raises ServerSaid where it is not what was asked for."""
        if self.reply.status != 200:
            text = bytes(self.plain[:_LONGEST_ERROR])
            try:
                raise error_of(read_json(text), self.reply.status)
            except ServerSaid as said:
                if text.lstrip()[:1] == b"{":
                    raise
                raise error_of({"error": text.decode("utf-8", "replace").strip() or "no word"}, self.reply.status) from said
        if self.events is not None:
            for event in self.events.end():
                self._event(event, t_ns, report)
        else:
            document = read_json(bytes(self.plain))
            if document.get("error"):
                raise error_of(document, 0)
            whole = Answer(self.answer.request, whole=True)  # an answer in one piece: counts, and no time of any token
            whole.take(bytes(self.plain), t_ns)
            whole.done, whole.stamped_tokens, whole.first_text_ns = True, 0, None
            self.answer = whole
        if not (self.answer.done or self.answer.ended):
            raise ServerSaid("the stream ended before the answer did")

    def _is_stream(self) -> bool:
        return self.reply.status == 200 and self.reply.headers.get("content-type", "").lower().startswith("text/event-stream")

    def _event(self, event: bytes, t_ns: int, report: Callable[[Report], None]) -> None:
        count, ids = self.answer.take(event, t_ns)
        if count:
            report(Tokens(self.request, t_ns, count, ids))


class Connection(asyncio.Protocol):
    """A connection to the server; carries one exchange after another."""

    def __init__(self, owner: Owner, now_ns: Callable[[], int]) -> None:
        self._owner, self._now_ns = owner, now_ns
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self.idle_since_ns = 0
        self.lost = False

    def begin(self, exchange: Exchange) -> None:
        """Send a request."""
        assert self._transport is not None and self._exchange is None
        self._exchange, exchange.connection = exchange, self
        self._transport.write(exchange.wire)
        exchange.wire = b""

    def abort(self) -> None:
        """Close at once; the server sees that nobody listens any more."""
        self._exchange = None
        self.lost = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`. Everything in `data` came at one moment."""
        t_ns = self._now_ns()
        exchange = self._exchange
        if exchange is None:
            self.abort()  # nobody asked
            return
        try:
            if exchange.take(data, t_ns, self._owner.report):
                exchange.finish(t_ns, self._owner.report)
                self._over(exchange, t_ns, "ok", "", reusable=exchange.reply.keep_alive)
        except ServerSaid as said:
            self._over(exchange, t_ns, said.status, str(said), reusable=exchange.reply.complete and exchange.reply.keep_alive)
        except (BadReply, EventTooLarge) as bad:
            self._over(exchange, t_ns, "error", str(bad), reusable=False)

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`. The connection is closed."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.lost = True
        exchange = self._exchange
        if exchange is None:
            return
        t_ns = self._now_ns()
        try:
            if error is not None:
                raise BadReply(f"the connection was lost: {error}")
            exchange.reply.end()
            exchange.finish(t_ns, self._owner.report)
            self._over(exchange, t_ns, "ok", "", reusable=False)
        except ServerSaid as said:
            self._over(exchange, t_ns, said.status, str(said), reusable=False)
        except BadReply as bad:
            self._over(exchange, t_ns, "error", str(bad), reusable=False)

    def _over(self, exchange: Exchange, t_ns: int, status: str, words: str, *, reusable: bool) -> None:
        self._exchange = None
        self.idle_since_ns = t_ns
        self._owner.released(self, reusable=reusable)
        if not exchange.over:
            exchange.over = True
            if exchange.timer is not None:
                exchange.timer.cancel()
            self._owner.report(Ended(exchange.request, t_ns, status, words, exchange.answer))
