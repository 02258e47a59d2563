"""A sink that keeps what an engine reports, for tests of engines. Holds an engine to the rules of the sink while it records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tpb_core.api import EventCode, Step


@dataclass
class RecordedRequest:
    """All that was reported of one request. Times are in ns of the run clock."""

    request: int
    started_ns: int | None = None
    queued_ns: int | None = None
    tokens: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)
    """`(t_ns, count, ids)` of each report, in order."""
    first_output_ns: int | None = None
    """Of an engine that does not count the tokens that it sends."""
    finished_ns: int | None = None
    reason: str | None = None
    """`stop` or `length`; None where it did not end well."""
    input_tokens: Any = 0
    """Counts are int; those of tokens and preemptions None where the engine does not say."""
    output_tokens: Any = 0
    cached_tokens: Any = 0
    sequences: int = 1
    preemptions: Any = 0
    text: str | None = None
    status: str | None = None
    """`ok`, or how it failed; None while it is under way."""
    error: str | None = None

    @property
    def counted_tokens(self) -> int:
        """Output tokens over all reports."""
        return sum(count for _, count, _ in self.tokens)

    @property
    def ids(self) -> list[int]:
        """Output ids over all reports, where the engine gives them."""
        return [token for _, _, ids in self.tokens for token in ids]

    @property
    def first_token_ns(self) -> int:
        """When the first output token came out. Raises IndexError where none did."""
        return self.tokens[0][0]

    @property
    def last_token_ns(self) -> int:
        """When the last output token came out. Raises IndexError where none did."""
        return self.tokens[-1][0]


class RecordingSink:
    """Implements `tpb_core.api.EngineSink`. Raises AssertionError at once where a report contradicts an earlier one."""

    def __init__(self) -> None:
        self.requests: dict[int, RecordedRequest] = {}
        self.steps: list[Step] = []
        self.windows: list[tuple[str, int, int]] = []
        self.events: list[tuple[EventCode, str, int | None]] = []

    def _open(self, request: int) -> RecordedRequest:
        recorded = self.requests.setdefault(request, RecordedRequest(request))
        assert recorded.status is None, f"request {request} was reported on after its end ({recorded.status})"
        return recorded

    def started(self, request: int, t_ns: int, queued_ns: int | None = None) -> None:
        """See `EngineSink.started`."""
        recorded = self._open(request)
        assert recorded.started_ns is None, f"request {request} started twice"
        assert queued_ns is None or queued_ns <= t_ns, f"request {request} started before it was queued"
        recorded.started_ns, recorded.queued_ns = t_ns, queued_ns

    def tokens(self, request: int, t_ns: int, count: int, ids: Sequence[int] = ()) -> None:
        """See `EngineSink.tokens`."""
        recorded = self._open(request)
        assert count > 0, f"request {request}: a report of {count} tokens"
        assert len(ids) in (0, count), f"request {request}: {count} tokens and {len(ids)} ids"
        recorded.tokens.append((t_ns, count, tuple(ids)))

    def first_token(self, request: int, t_ns: int) -> None:
        """See `EngineSink.first_token`."""
        recorded = self._open(request)
        assert recorded.first_output_ns is None and not recorded.tokens, f"request {request}: the first output came twice"
        recorded.first_output_ns = t_ns

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
        """See `EngineSink.finished`."""
        recorded = self._open(request)
        assert reason in ("stop", "length"), f"request {request}: reason {reason!r}"
        recorded.status, recorded.reason, recorded.finished_ns = "ok", reason, t_ns
        recorded.input_tokens, recorded.output_tokens, recorded.cached_tokens = input_tokens, output_tokens, cached_tokens
        recorded.sequences, recorded.preemptions, recorded.text = sequences, preemptions, text

    def failed(self, request: int, t_ns: int, status: str, error: str) -> None:
        """See `EngineSink.failed`."""
        recorded = self._open(request)
        assert status in ("error", "timeout", "cancelled", "rejected"), f"request {request}: status {status!r}"
        assert error, f"request {request} failed without a word"
        recorded.status, recorded.error, recorded.finished_ns = status, error, t_ns

    def step(self, step: Step) -> None:
        """See `EngineSink.step`."""
        self.steps.append(step)

    def window(self, name: str, t0_ns: int, t1_ns: int) -> None:
        """See `EngineSink.window`."""
        assert t0_ns <= t1_ns, f"window {name} ends before it begins"
        self.windows.append((name, t0_ns, t1_ns))

    def event(self, code: EventCode, message: str, request: int | None = None) -> None:
        """See `EngineSink.event`."""
        self.events.append((code, message, request))
