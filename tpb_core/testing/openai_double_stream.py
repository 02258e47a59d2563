"""The streams of the stand-in for an OpenAI-compatible server, and what it counts of them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

NATURAL_TOKENS = 12
"""Where the made-up model ends its answers by itself."""


@dataclass
class Counters:
    """What the stand-in has done, as its metrics page shows it; `received` holds (loop time, body) of each request for tests."""

    generation_tokens: int = 0
    prompt_tokens: int = 0
    finished: int = 0
    running: int = 0
    most_running: int = 0
    closed_early: int = 0
    """Streams whose client went away."""
    received: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    stamps: list[list[int]] = field(default_factory=list)
    """Of each request in the order of arrival: CLOCK_MONOTONIC in ns when it was there in full, and when its first token was sent."""

    def take_stamps(self) -> dict[str, Any]:
        """`stamps` and `most_running` since the last call; both begin anew."""
        taken = {"stamps": self.stamps, "most_running": self.most_running}
        self.stamps, self.most_running = [], self.running
        return taken

    def text(self) -> str:
        """In the Prometheus text format, under vLLM's names."""
        label = '{engine="0",model_name="double"}'
        return (
            "# HELP vllm:generation_tokens_total Number of generation tokens processed.\n"
            "# TYPE vllm:generation_tokens_total counter\n"
            f"vllm:generation_tokens_total{label} {float(self.generation_tokens)}\n"
            f"vllm:prompt_tokens_total{label} {float(self.prompt_tokens)}\n"
            f'vllm:request_success_total{{engine="0",finished_reason="length",model_name="double"}} {float(self.finished)}\n'
            f'vllm:request_success_total{{engine="0",finished_reason="stop",model_name="double"}} 0.0\n'
            f"vllm:num_requests_running{label} {float(self.running)}\n"
            f"vllm:num_requests_waiting{label} 0.0\n"
            f"vllm:kv_cache_usage_perc{label} 0.25\n"
        )


class Stream:
    """One answer on its way out, token by token, by timers of the loop. `double` says what goes wrong in it."""

    def __init__(
        self,
        body: dict[str, Any],
        double: dict[str, Any],
        prompt_tokens: int,
        *,
        chat: bool,
        arrived_ns: int,
        pace: tuple[float, float],
        transport: asyncio.Transport,
        counters: Counters,
    ) -> None:
        self._body, self._double, self._chat, self._transport, self._counters = body, double, chat, transport, counters
        self._prompt_tokens = prompt_tokens
        self._sequences = int(body.get("n", 1))
        limit = int(body.get("max_tokens") or body.get("max_completion_tokens") or 16)
        self._tokens = limit if body.get("ignore_eos") else min(limit, NATURAL_TOKENS)
        self._reason = "length" if self._tokens == limit else "stop"
        self._pieces = [f"{chr(97 + (number + prompt_tokens) % 26)}{number} " for number in range(self._tokens)]
        self._cut_at_stop()
        self._sent = 0
        self._loop = asyncio.get_running_loop()
        self._begin_s, self._token_s = self._loop.time(), pace[1]
        self._first_s = pace[0]
        self._stamps = [arrived_ns]
        counters.stamps.append(self._stamps)
        counters.prompt_tokens += prompt_tokens
        counters.running += 1
        counters.most_running = max(counters.most_running, counters.running)
        self._timer: asyncio.TimerHandle | None = self._loop.call_at(self._begin_s + pace[0], self._next)

    def cancel(self) -> None:
        """The client is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._counters.running -= 1
            self._counters.closed_early += 1
            self._timer = None

    def _cut_at_stop(self) -> None:
        """Stop strings end the answer in front of them; the token that completes one was made all the same."""
        text = ""
        for number, piece in enumerate(self._pieces):
            text += piece
            for stop in self._body.get("stop") or ():
                if stop in text:
                    kept = text[: text.index(stop)]
                    before = "".join(self._pieces[:number])
                    self._pieces = [*self._pieces[:number], kept[len(before) :]]
                    self._tokens, self._reason = number + 1, "stop"
                    return

    def _next(self) -> None:
        if not self._body.get("stream"):
            self._whole()
            return
        if self._sent == 0:
            self._stamps.append(time.monotonic_ns())
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
        if self._goes_wrong():
            return
        together = min(int(self._double.get("together", 1)), self._tokens - self._sent)
        events = [self._event(sequence, together) for sequence in range(self._sequences)]
        self._sent += together
        self._counters.generation_tokens += together * self._sequences
        if self._sent < self._tokens:
            self._write(events)
            self._timer = self._loop.call_at(self._begin_s + self._first_s + self._sent * self._token_s, self._next)
            return
        if (self._body.get("stream_options") or {}).get("include_usage") and not self._double.get("no_usage"):
            events.append({"choices": [], "usage": self._usage(self._sent * self._sequences), "metrics": self._metrics()})
        self._write(events, last=True)
        self._end()

    def _goes_wrong(self) -> bool:
        double = self._double
        if double.get("drop_after") == self._sent:
            self._transport.abort() if double.get("reset") else self._transport.close()
        elif double.get("malformed_after") == self._sent:
            self._chunk(b'data: {"choices": [{"text": \n\n')
        elif double.get("error_after") == self._sent:
            self._chunk(b'data: {"error": {"message": "out of memory", "code": 500}}\n\ndata: [DONE]\n\n')
            self._transport.write(b"0\r\n\r\n")
        elif double.get("quiet_after") != self._sent:
            return False
        self._timer = None
        self._counters.running -= 1
        return True

    def _event(self, sequence: int, together: int) -> dict[str, Any]:
        text = "".join(self._pieces[self._sent : self._sent + together])
        choice: dict[str, Any] = {"index": sequence, "finish_reason": self._reason if self._sent + together == self._tokens else None}
        choice |= {"delta": {"content": text}} if self._chat else {"text": text}
        event: dict[str, Any] = {"object": "chat.completion.chunk" if self._chat else "text_completion", "choices": [choice]}
        if self._double.get("no_counts"):
            return event
        if self._body.get("return_token_ids"):
            choice["token_ids"] = [(self._prompt_tokens + number) % 256 for number in range(self._sent, self._sent + together)]
        if (self._body.get("stream_options") or {}).get("continuous_usage_stats"):
            event["usage"] = self._usage(self._sent + together)
        return event

    def _usage(self, tokens: int) -> dict[str, Any]:
        tokens += int(self._double.get("usage_off_by", 0)) if tokens >= self._tokens else 0
        prompt = self._prompt_tokens + int(self._double.get("prompt_off_by", 0))
        details = {"cached_tokens": int(self._double.get("cached", 0))} if not self._double.get("no_cached") else None
        return {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens, "prompt_tokens_details": details}

    def _metrics(self) -> dict[str, Any] | None:
        if self._double.get("no_metrics"):
            return None
        first_ms = self._first_s * 1e3
        return {
            "time_to_first_token_ms": first_ms,
            "queue_time_ms": 0.25 * first_ms,
            "generation_time_ms": self._sent * self._token_s * 1e3,
        }

    def _whole(self) -> None:
        text = "".join(self._pieces)
        choices = [
            {"index": n, "finish_reason": self._reason, **({"message": {"content": text}} if self._chat else {"text": text})}
            for n in range(self._sequences)
        ]
        kind = "chat.completion" if self._chat else "text_completion"
        body = json.dumps({"object": kind, "choices": choices, "usage": self._usage(self._tokens * self._sequences)}).encode()
        self._counters.generation_tokens += self._tokens * self._sequences
        self._transport.write(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        self._end()

    def _write(self, events: list[dict[str, Any]], *, last: bool = False) -> None:
        data = b"".join(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n" for event in events)
        self._chunk(data + (b"data: [DONE]\n\n" if last else b""), b"0\r\n\r\n" if last else b"")

    def _chunk(self, data: bytes, after: bytes = b"") -> None:
        self._transport.write(b"%x\r\n" % len(data) + data + b"\r\n" + after)

    def _end(self) -> None:
        self._timer = None
        self._counters.running -= 1
        self._counters.finished += 1
