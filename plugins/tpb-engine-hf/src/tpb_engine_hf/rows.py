"""The rows of a static batch: one sequence each, and when it ends. Plain Python, no tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tpb_core.api import Request

ENDED_BY_STOP = "stop"
ENDED_BY_LENGTH = "length"
CANCELLED = "cancelled"
STOP_SLACK_TOKENS = 4
"""Tokens decoded beyond the longest stop string, so that a text cut inside a character or before a space is no matter."""

DecodeText = Callable[[Sequence[int]], str]


@dataclass(slots=True)
class Row:
    """One sequence of a batch. `sequence` counts the sequences of a request (n > 1) from 0."""

    request: int
    sequence: int
    prompt: list[int]
    limit_tokens: int
    end_ids: frozenset[int]
    """Token ids that end the sequence; empty where the output length is exact."""
    stop: tuple[str, ...] = ()
    output: list[int] = field(default_factory=list)
    ended: str | None = None
    ended_ns: int | None = None
    ended_by_itself: bool = True
    """False where a stop string or somebody else ended it, which the engine cannot know."""

    def take(self, ids: Sequence[int], t_ns: int, decode: DecodeText) -> int:
        """Append output tokens in order until the row ends, and return how many were taken. Nothing is taken after the end."""
        taken = 0
        for token in ids:
            if self.ended is not None:
                break
            self.take_one(token, t_ns, decode)
            taken += 1
        return taken

    def take_one(self, token: int, t_ns: int, decode: DecodeText) -> None:
        """Append one output token to a row that has not ended. Between two steps of a large batch this runs once a row."""
        self.output.append(token)
        if token in self.end_ids:
            self.ended = ENDED_BY_STOP
        elif self.stop and self._stop_string_is_out(decode):
            self.ended, self.ended_by_itself = ENDED_BY_STOP, False
        elif len(self.output) >= self.limit_tokens:
            self.ended = ENDED_BY_LENGTH
        else:
            return
        self.ended_ns = t_ns

    def cancel(self, t_ns: int) -> bool:
        """End the row where it is; False where it had ended."""
        if self.ended is not None:
            return False
        self.ended, self.ended_ns, self.ended_by_itself = CANCELLED, t_ns, False
        return True

    def _stop_string_is_out(self, decode: DecodeText) -> bool:
        # a token gives at least one byte of text, so a stop string spans no more tokens than it has bytes
        tail_tokens = max(len(text.encode()) for text in self.stop) + STOP_SLACK_TOKENS
        tail = decode(self.output[-tail_tokens:])
        return any(text in tail for text in self.stop)


def rows_of(requests: Sequence[Request], prompts: Sequence[list[int]], end_ids: frozenset[int], copies: int) -> list[Row]:
    """The rows of a batch, request by request, `copies` of each (sequences or beams)."""
    return [
        Row(
            request=request.request,
            sequence=copy,
            prompt=prompt,
            limit_tokens=request.sampling.max_output_tokens,
            end_ids=frozenset() if request.sampling.exact_output_length else end_ids,
            stop=request.sampling.stop,
        )
        for request, prompt in zip(requests, prompts, strict=True)
        for copy in range(copies)
    ]


def text_before_stop(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop string, or all of it."""
    cuts = [position for position in (text.find(mark) for mark in stop) if position >= 0]
    return text[: min(cuts)] if cuts else text
