"""What one answer has said so far: text, tokens and when they came, the reason of its end, the server's own figures."""

from __future__ import annotations

import json
from typing import Any

from tpb_core.api import Request

_REASONS = {"length": "length", "max_tokens": "length", "stop": "stop", "eos_token": "stop", "stop_sequence": "stop", "tool_calls": "stop"}
_BUSY = (429, 503)


class ServerSaid(Exception):
    """The server refused or failed. `status` is the status of the request row."""

    def __init__(self, message: str, *, busy: bool = False) -> None:
        super().__init__(message)
        self.status = "rejected" if busy else "error"


class Answer:
    """Takes the JSON documents of a stream, or the single one of an answer in one piece. No input or output. Times in ns."""

    def __init__(self, request: Request, *, whole: bool = False) -> None:
        self.request = request
        self._whole = whole
        """It comes in one piece."""
        self.stamped_tokens = 0
        """Tokens whose time is known."""
        self.first_text_ns: int | None = None
        self.done = False
        """The server said that nothing follows."""
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.ttft_ms: float | None = None
        """From arrival at the server to the first token, by the server."""
        self.queue_ms: float | None = None
        self._texts: dict[int, list[str]] = {}
        self._reasons: dict[int, str] = {}
        self._usage_so_far = 0
        self._blind = False
        """Text came without a count; counts that come later cannot be put in time."""

    def take(self, data: bytes, t_ns: int) -> tuple[int, list[int]]:
        """One event that came at `t_ns`: the number of tokens in it whose time is known, and their ids where they are told.

        Raises ServerSaid for an error in the stream and for what is not JSON.
        """
        if data.strip() == b"[DONE]":
            self.done = True
            return 0, []
        document = read_json(data)
        if document.get("error"):
            raise error_of(document, 0)
        has_text, ids, ids_told = False, [], False
        for choice in _list(document.get("choices")):
            index = _count(choice.get("index"), 0) or 0
            text = _text_of(choice)
            texts = self._texts.setdefault(index, [])
            if text:
                has_text = True
                texts.append(text)
            told = choice.get("token_ids")
            if isinstance(told, list):
                ids_told = True
                ids += told
            if isinstance(choice.get("finish_reason"), str):
                self._reasons[index] = choice["finish_reason"]
        so_far = self._take_figures(document)
        if ids_told:
            count = len(ids)
        elif so_far is not None and self.request.sampling.n == 1:
            count = max(0, so_far - self._usage_so_far)
        else:
            count = 0
        if so_far is not None:
            self._usage_so_far = max(so_far, self._usage_so_far)
        if (has_text or count) and self.first_text_ns is None:
            self.first_text_ns = t_ns
            self._blind = not count
        if self._blind:
            return 0, []
        self.stamped_tokens += count
        return count, ids

    @property
    def without_stamps(self) -> bool:
        """Text has come, and nobody said how many tokens when."""
        return self._blind

    @property
    def sequences(self) -> int:
        """How many answers there are."""
        return len(self._texts)

    @property
    def ended(self) -> bool:
        """Whether every sequence has said why it ended."""
        return bool(self._reasons) and len(self._reasons) >= self.request.sampling.n

    def reason(self) -> str | None:
        """`stop` or `length` (where any sequence ran into the limit); None where the server gave none. Raises ServerSaid for others."""
        reasons = set()
        for given in self._reasons.values():
            if given not in _REASONS:
                raise ServerSaid(f"the server ended the answer with the reason {given!r}")
            reasons.add(_REASONS[given])
        return "length" if "length" in reasons else "stop" if reasons else None

    @property
    def all_at_limit(self) -> bool:
        """Whether every sequence ended because it was as long as it was allowed to be."""
        return self.ended and all(_REASONS.get(given) == "length" for given in self._reasons.values())

    def text(self) -> str:
        """Of the first sequence."""
        return "".join(self._texts.get(0, []))

    def texts(self) -> list[str]:
        """Of all sequences."""
        return ["".join(pieces) for _, pieces in sorted(self._texts.items())]

    def _take_figures(self, document: dict[str, Any]) -> int | None:
        """Usage and timings; returns the output tokens so far, where the event says."""
        so_far = None
        usage = document.get("usage")
        if isinstance(usage, dict):
            self.input_tokens = _count(usage.get("prompt_tokens"), self.input_tokens)
            so_far = _count(usage.get("completion_tokens"), None)
            details = usage.get("prompt_tokens_details")
            if isinstance(details, dict):
                self.cached_tokens = _count(details.get("cached_tokens"), self.cached_tokens)
        timings = document.get("timings")
        if isinstance(timings, dict):
            cached = _count(timings.get("cache_n"), None)
            fresh = _count(timings.get("prompt_n"), None)
            if cached is not None:
                self.cached_tokens = cached
                if fresh is not None and self.input_tokens is None:
                    self.input_tokens = fresh + cached
            so_far = _count(timings.get("predicted_n"), None) if so_far is None else so_far
        # with several sequences, the usage of a chunk is that of its own sequence, and only the last one is of all
        if so_far is not None and (self._whole or self.request.sampling.n == 1 or not document.get("choices")):
            self.output_tokens = max(so_far, self.output_tokens or 0)
        metrics = document.get("metrics")
        if isinstance(metrics, dict):
            self.ttft_ms = _milliseconds(metrics.get("time_to_first_token_ms"), self.ttft_ms)
            self.queue_ms = _milliseconds(metrics.get("queue_time_ms"), self.queue_ms)
        return so_far


def read_json(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises ServerSaid for everything else."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ServerSaid(f"the server sent something that is no JSON object: {data[:120]!r}")
    return document


def error_of(document: dict[str, Any], http_status: int) -> ServerSaid:
    """The error that a server describes: OpenAI's `{"error": {"message", "code"}}`, or `{"error": "..."}`, `{"detail": ...}`."""
    error = document.get("error") or document.get("detail") or document.get("message") or document
    message = error.get("message") if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    text = str(message or error)[:300]
    return ServerSaid(f"HTTP {http_status}: {text}" if http_status else text, busy=http_status in _BUSY or code in _BUSY)


def _text_of(choice: dict[str, Any]) -> str:
    if isinstance(choice.get("text"), str):
        return str(choice["text"])
    message = choice.get("delta") or choice.get("message")
    if not isinstance(message, dict):
        return ""
    pieces = [message.get(name) for name in ("reasoning_content", "reasoning", "content")]
    return "".join(piece for piece in pieces if isinstance(piece, str))


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _count(value: Any, otherwise: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else otherwise


def _milliseconds(value: Any, otherwise: float | None) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e9 else otherwise
