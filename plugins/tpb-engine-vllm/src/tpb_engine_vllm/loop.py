"""Requests through vLLM's engine, one step at a time: handed over as token ids, reported with the engine's own stamps. Imports vllm."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from typing import Any

from tpb_core.api import EngineContext, EngineSink, EventCode, MeasurementFailed, Refused, Request
from tpb_engine_hf.tokens import HfTokenizer
from tpb_engine_vllm.room import Room
from tpb_engine_vllm.sampling import sampling_arguments
from tpb_engine_vllm.step_tap import StepTap
from tpb_engine_vllm.streams import Stream, Submitted, step_of

_PAST_STREAMS = 4096
_REPORT_NS = 250_000_000
"""Longest time until steps and tokens are reported: much at once costs a step less than a little after each."""
_REASONS = {"stop": "stop", "length": "length", "repetition": "stop"}


class EngineLoop:
    """Steps `vllm.LLMEngine` whose core runs in this process. Sequences of a request (n > 1) are requests of their own."""

    def __init__(self, engine: Any, tokenizer: HfTokenizer, room: Room, context: EngineContext, *, drafts: bool, adapter: Any) -> None:
        self._engine, self._tokenizer, self._room = engine, tokenizer, room
        self._clock, self._context = context.clock, context
        self._drafts, self._adapter = drafts, adapter
        self._core = engine.engine_core.engine_core
        self._tap = StepTap(self._core.scheduler, context.clock)
        self._requests: dict[int, Submitted] = {}
        self._streams: dict[str, Stream] = {}
        self._serial = itertools.count()
        self._past: deque[str] = deque()
        """Streams that ended; a step scheduled ahead of time may still name the latest of them."""
        self._broken: str | None = None
        self._reported_ns = 0

    def run_batch(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """All prompts in one step, then decoding. Raises `Refused` where they do not fit into one."""
        prompts = [(len(self._tokenizer.prompt_ids(request)), request.sampling) for request in requests]
        if (reason := self._room.too_much_for_one_step(prompts)) is not None:
            raise Refused(f"A static batch computes all prompts before it decodes, and {reason}.", "Raise the option, or use load=offline.")
        self.submit(requests, sink)
        while self.advance(sink):
            self.cancel(self._context.cancelled(), sink)

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Queue requests; one that does not fit, or that vLLM refuses, is reported as rejected."""
        if self._broken is not None:
            raise MeasurementFailed(f"vLLM's engine ended: {self._broken}", "Read worker.log in the run's folder.")
        for request in requests:
            ids = self._tokenizer.prompt_ids(request)
            reason = self._room.too_long(len(ids), request.sampling)
            if reason is None:
                reason = self._queue(request, ids)
            if reason is not None:
                sink.failed(request.request, self._clock.now_ns(), "rejected", reason)

    def _queue(self, request: Request, ids: list[int]) -> str | None:
        """Hand one request over; why not, where vLLM does not take it."""
        from vllm import SamplingParams
        from vllm.exceptions import VLLMClientError
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind

        number = request.request
        streams = [
            Stream(f"{number}/{sequence}/{next(self._serial)}", number, sequence, len(ids)) for sequence in range(request.sampling.n)
        ]
        handed: list[str] = []
        for stream in streams:
            # the step tap has the tokens as they come, so that nothing is made of each step here
            parameters = SamplingParams(**sampling_arguments(request.sampling, stream.sequence), output_kind=RequestOutputKind.FINAL_ONLY)
            try:
                self._engine.add_request(stream.name, tokens_input(ids), parameters, lora_request=self._adapter)
            except (ValueError, VLLMClientError) as error:
                self._engine.abort_request(handed)
                return str(error).splitlines()[0]
            handed.append(stream.name)
        self._requests[number] = Submitted(request, streams)
        self._streams.update({stream.name: stream for stream in streams})
        return None

    def advance(self, sink: EngineSink) -> bool:
        """One step, and what came of it. False where nothing is under way."""
        if not self._requests:
            return False
        try:
            outputs = self._engine.step()
        except Exception as error:  # whatever the model's code raises; the engine's state is not known afterwards
            self._report(sink)
            self._fail_all(f"{type(error).__name__}: {error}", sink)
            return False
        if outputs or self._tap.first_tokens or self._clock.now_ns() - self._reported_ns >= _REPORT_NS:
            self._report(sink)
        for output in outputs:
            self._take(output, sink)
        self._drain(sink)
        return bool(self._requests)

    def _drain(self, sink: EngineSink) -> None:
        """Finish what was scheduled ahead for sequences that have ended meanwhile, so that no step spans the pause."""
        while not self._requests and getattr(self._core, "batch_queue", None):
            self._engine.step()
            self._report(sink)

    def _report(self, sink: EngineSink) -> None:
        self._reported_ns = self._clock.now_ns()
        beginnings, iterations = self._tap.take()
        for beginning in beginnings:
            submitted = self._requests.get(self._streams[beginning.stream].request)
            if submitted is not None and not submitted.started:
                submitted.started = True
                sink.started(submitted.request.request, beginning.started_ns, beginning.queued_ns)
        for iteration in iterations:
            for name, ids in iteration.outputs.items():
                stream = self._streams.get(name)
                if ids and stream is not None and stream.request in self._requests:
                    stream.output_ns = iteration.outputs_ns
                    sink.tokens(stream.request, iteration.outputs_ns, len(ids), ids)
            sink.step(step_of(iteration, self._streams, drafts=self._drafts))

    def _take(self, output: Any, sink: EngineSink) -> None:
        """A sequence has ended."""
        stream = self._streams.get(output.request_id)
        if stream is None or stream.request not in self._requests:
            return
        (whole,) = output.outputs
        stream.output_tokens, stream.text, stream.ended = len(whole.token_ids), whole.text, str(whole.finish_reason)
        if self._requests[stream.request].complete:
            self._finish(self._requests[stream.request], sink)

    def _finish(self, submitted: Submitted, sink: EngineSink) -> None:
        number, streams = submitted.request.request, submitted.streams
        t_ns = max(stream.output_ns for stream in streams)
        reasons = {_REASONS.get(str(stream.ended)) for stream in streams}
        if None in reasons:
            sink.failed(number, self._clock.now_ns(), "error", f"vLLM ended it: {', '.join(sorted(str(s.ended) for s in streams))}")
        else:
            sink.finished(
                number,
                t_ns,
                "stop" if reasons == {"stop"} else "length",
                input_tokens=streams[0].prompt_tokens,
                output_tokens=sum(stream.output_tokens for stream in streams),
                cached_tokens=streams[0].cached or 0,
                sequences=len(streams),
                preemptions=sum(stream.preemptions for stream in streams),
                text="\n".join(stream.text for stream in streams),
            )
        self._forget(number)

    def _fail_all(self, reason: str, sink: EngineSink) -> None:
        self._broken = reason
        sink.event(EventCode.ENGINE_ERROR, f"vLLM's step failed: {reason}")
        for number in list(self._requests):
            sink.failed(number, self._clock.now_ns(), "error", reason)
            self._forget(number)

    def _forget(self, number: int) -> None:
        for stream in self._requests.pop(number).streams:
            self._tap.forget(stream.name)
            self._past.append(stream.name)
        while len(self._past) > _PAST_STREAMS:
            del self._streams[self._past.popleft()]

    def cancel(self, requests: Sequence[int], sink: EngineSink) -> None:
        """Take requests out; unknown and finished ones are passed over."""
        if not requests:
            return
        self._report(sink)
        for number in requests:
            if number in self._requests:
                self._engine.abort_request([stream.name for stream in self._requests[number].streams])
                sink.failed(number, self._clock.now_ns(), "cancelled", "cancelled on demand")
                self._forget(number)
        self._drain(sink)

    def close(self) -> None:
        """Let go of the engine. Idempotent."""
        self._tap.close()
        self._requests.clear()
        self._streams.clear()
