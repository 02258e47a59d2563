"""The end of a request: status, counts by token ids, the executor's own times where they are believed."""

from __future__ import annotations

from typing import Any

from tpb_core.api import EngineSink, EventCode
from tpb_engine_trtllm.executor_clock import ExecutorClock, RequestTimes, request_times
from tpb_engine_trtllm.streams import Ended
from tpb_engine_trtllm.tokens import LlmTokenizer

_STAMPS = ("arrival_time", "first_scheduled_time", "first_token_time", "last_token_time")
_FAILED = {"timeout": "timeout", "cancelled": "cancelled"}


class Endings:
    """Reports ends. Times that are not believed stay NULL; why is told once."""

    def __init__(self, clock: ExecutorClock, tokenizer: LlmTokenizer, *, prefix_cache: bool, never_evicts: bool) -> None:
        self._clock, self._tokenizer = clock, tokenizer
        self._prefix_cache, self._never_evicts = prefix_cache, never_evicts
        self._told: set[str] = set()

    def distrust(self, why: str, sink: EngineSink) -> None:
        """Say, once for each reason, that requests have no queue and start times."""
        if why not in self._told:
            self._told.add(why)
            sink.event(EventCode.TIMES_UNKNOWN, why)

    def report(self, end: Ended, sink: EngineSink) -> None:
        """Tell the sink how a request ended."""
        number = end.request.request
        if end.metrics and any(each is not None for each in end.metrics):
            times = self._times(end)
            if isinstance(times, RequestTimes):
                sink.started(number, times.scheduled_ns, times.arrived_ns)
            else:
                self.distrust(times, sink)
        status, words = _outcome(end)
        if status != "ok":
            sink.failed(number, end.t_ns, status, words)
            return
        limit = end.request.sampling.max_output_tokens
        if end.request.sampling.exact_output_length and any(len(ids) != limit for ids in end.outputs):
            lengths = ", ".join(str(len(ids)) for ids in end.outputs)
            sink.event(EventCode.TOKENS_DIFFER, f"{limit} output tokens were asked for exactly, and {lengths} came", number)
        cached = self._cached(end)
        if cached != 0 and not self._prefix_cache:
            sink.event(EventCode.PREFIX_REUSED, f"{cached or 'some'} prompt tokens came from reused KV blocks", number)
        sink.finished(
            number,
            end.t_ns,
            "length" if "length" in end.reasons else "stop",
            input_tokens=len(end.request.input_ids or ()),
            output_tokens=sum(len(ids) for ids in end.outputs),
            cached_tokens=cached,
            sequences=len(end.outputs),
            preemptions=0 if self._never_evicts else None,
            text=self._tokenizer.decode([end.outputs[0]])[0],
        )

    def _times(self, end: Ended) -> RequestTimes | str:
        """Of several sequences: the first to arrive, to be scheduled and to give a token; the last to end."""
        timings = [timing for each in end.metrics if (timing := getattr(each, "timing_metrics", None)) is not None]
        if not timings:
            return "TensorRT-LLM gave no times for this request"
        told: list[list[Any]] = [[getattr(timing, name, None) for timing in timings] for name in _STAMPS]
        if any(stamp is None for stamps in told for stamp in stamps):
            return "TensorRT-LLM gave no times for this request"
        arrived, scheduled, first, last = min(told[0]), min(told[1]), min(told[2]), max(told[3])
        return request_times(self._clock, (arrived, scheduled, first, last), end.submitted_ns, end.t_ns)

    def _cached(self, end: Ended) -> int | None:
        """Prompt tokens from the KV cache: as told; else none where no block was reused; else unknown, since blocks are not tokens."""
        if end.cached_tokens is not None:
            return end.cached_tokens
        reused = [getattr(getattr(each, "kv_cache_metrics", None), "num_reused_blocks", None) for each in end.metrics]
        if any(blocks is None for blocks in reused) or not reused:
            return None if self._prefix_cache else 0
        return None if any(reused) else 0


def _outcome(end: Ended) -> tuple[str, str]:
    if end.status != "ok":
        return end.status, end.error
    for reason in end.reasons:
        if reason in _FAILED:
            return _FAILED[reason], f"TensorRT-LLM ended it: {reason}"
        if reason not in ("stop", "length"):
            return "error", f"TensorRT-LLM ended it with the reason {reason!r}"
    if not end.outputs or len(end.outputs) != end.request.sampling.n:
        return "error", f"TensorRT-LLM returned {len(end.outputs)} of {end.request.sampling.n} sequences"
    return "ok", ""
