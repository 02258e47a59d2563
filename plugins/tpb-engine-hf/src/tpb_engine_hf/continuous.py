"""Requests that come and go: Transformers' continuous-batching manager, with a step log. Imports torch and transformers."""

from __future__ import annotations

import itertools
import math
import queue
import random
from collections import deque
from collections.abc import Sequence
from typing import Any

from tpb_core.api import EngineContext, EngineSink, EventCode, MeasurementFailed, Refused, Request, Sampling
from tpb_engine_hf.config import HfConfig
from tpb_engine_hf.generation import StaticBatches
from tpb_engine_hf.loop_tap import Gone, Iteration, LoopTap
from tpb_engine_hf.rows import Row, rows_of, text_before_stop
from tpb_engine_hf.sampling import SeededSampling, is_seeded, native_settings, sequence_draws, shared_sampling
from tpb_engine_hf.streams import Stream, Submitted, step_of, take_output

POLL_S = 0.2
"""How often a wait looks whether the loop is still alive."""
CANCEL_TIMEOUT_S = 60.0
CPU_BATCH_TOKENS = 1024
CPU_CACHE_SHARE = 0.1
"""Of the free memory, for the pages; reading them takes several times as much again."""
DEFAULT_CONTEXT_TOKENS = 4096
PAST_STREAMS = 4096
FREE_SHARE = 0.15
"""The scheduler keeps this share of the cache free before it admits a request."""


class ContinuousBatching:
    """One manager at a time, set up by the first request, and again when idle and the way of sampling changes."""

    def __init__(self, batches: StaticBatches, config: HfConfig, context: EngineContext) -> None:
        if batches.assisted:
            raise Refused(
                "Continuous batching of Transformers has no assisted decoding.",
                "Leave the draft model out, or use load=static load.batch_size=1.",
            )
        if config.compile:
            raise Refused("engine.compile is for static batches.", "Set engine.compile=false, or use load=static.")
        self._batches = batches
        self._config = config
        self._context = context
        self._clock = batches.clock
        self._manager: Any = None
        self._tap: LoopTap | None = None
        self._shape: tuple[Any, ...] | None = None
        self._rows: dict[str, Row] = {}
        self._draws: dict[str, random.Random] = {}
        self._streams: dict[str, Stream] = {}
        self._requests: dict[int, Submitted] = {}
        self._serial = itertools.count()
        self._past: deque[str] = deque()
        """Streams that ended; an iteration scheduled ahead of time may still name the latest of them."""

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Queue requests; one that does not fit the model's context is reported as rejected."""
        if not requests:
            return
        samplings = [request.sampling for request in requests]
        shared = shared_sampling(samplings)
        if shared.beam_width > 1:
            raise Refused("Continuous batching of Transformers has no beam search.", "Use load=static, or set sampling.beam_width=1.")
        self._set_up(shared, is_seeded(samplings), any(sampling.stop for sampling in samplings), sink)
        limit = self._batches.context_tokens
        for request in requests:
            ids = self._batches.tokenizer.prompt_ids(request)
            if limit is not None and len(ids) + request.sampling.max_output_tokens > limit:
                wanted = f"{len(ids)} input and {request.sampling.max_output_tokens} output tokens; the model's context has {limit}"
                sink.failed(request.request, self._clock.now_ns(), "rejected", wanted)
                continue
            self._queue(request, ids)

    def _queue(self, request: Request, ids: list[int]) -> None:
        rows = rows_of([request], [ids], self._batches.special.end, request.sampling.n)
        streams = [Stream(f"{request.request}/{row.sequence}/{next(self._serial)}", row) for row in rows]
        self._requests[request.request] = Submitted(request, streams, self._clock.now_ns())
        for stream in streams:
            name = stream.name
            self._rows[name], self._streams[name] = stream.row, stream
            self._draws[name] = sequence_draws(request.sampling, stream.row.sequence)
            end = sorted(stream.row.end_ids) or -1
            accepted = self._manager.add_request(ids, request_id=name, max_new_tokens=stream.row.limit_tokens, eos_token_id=end)
            if accepted is None:
                raise MeasurementFailed(
                    f"Transformers' loop takes no requests any more: {self._manager.background_thread_status.fatal_error}"
                )

    def _set_up(self, shared: Sampling, seeded: bool, stops: bool, sink: EngineSink) -> None:
        exact = seeded or stops  # both act between two iterations, so they need the loop to wait for each
        shape = (shared.temperature, shared.top_p, shared.top_k, shared.n, seeded)
        if self._manager is not None and (shape != self._shape or (stops and self._manager.continuous_batching_config.use_async_batching)):
            if self._requests:
                raise Refused(
                    "Requests under way use another temperature, top_p, top_k, n or seeding; Transformers has one for all.",
                    "Use the same sampling for all requests of a point.",
                )
            self.close()
        if self._manager is not None:
            return
        for name in ("cuda_graphs", "async_batching"):
            if exact and getattr(self._config, name):
                raise Refused(
                    f"Seeds and stop strings cannot be honoured exactly with engine.{name}=true.",
                    f"Set engine.{name}=false, or leave both out.",
                )
        from transformers import ContinuousBatchingConfig, GenerationConfig

        settings = {"do_sample": False} if seeded else native_settings(shared)
        model = self._batches.model
        manager = model.init_continuous_batching(
            generation_config=GenerationConfig(**settings, pad_token_id=self._batches.special.padding, eos_token_id=-1),
            continuous_batching_config=ContinuousBatchingConfig(
                page_size=self._config.kv_page_tokens,
                num_blocks=self._pages(),
                max_batch_tokens=self._batch_tokens(),
                max_requests_per_batch=max(1, self._context.max_concurrency * max(1, shared.n)),
                allow_block_sharing=self._config.prefix_cache,
                use_async_batching=False if exact else self._config.async_batching,
                use_cuda_graph=False if exact else self._config.cuda_graphs,
                scheduler_type=self._config.scheduler,
                auto_switch_to_flash=self._config.attention == "auto",
            ),
        )
        if seeded:
            manager.logit_processor.logits_processor.append(SeededSampling(shared, self._current_draws))
            manager.logit_processor.do_processing = True
        t0_ns = self._clock.now_ns()
        manager.warmup()
        if manager.batch_processor.model_runner.pad_inputs:  # graphs were captured or code was compiled
            sink.window("compile", t0_ns, self._clock.now_ns())
        self._tap = LoopTap(manager.batch_processor, self._rows, self._clock, self._batches.tokenizer.text, manager.cancel_request)
        manager.start()
        self._manager, self._shape = manager, shape

    def _current_draws(self) -> list[random.Random | None]:
        assert self._tap is not None
        return [self._draws.get(part.sequence) for part in self._tap.current if part.gives_token]

    def _batch_tokens(self) -> int | None:
        if self._config.max_batch_tokens is not None or self._batches.model.device.type != "cpu":
            return self._config.max_batch_tokens
        return CPU_BATCH_TOKENS

    def _pages(self) -> int | None:
        """Pages of KV cache. On a CPU: enough for all requests at once, within a share of the free memory."""
        if self._config.kv_pages is not None or self._batches.model.device.type != "cpu":
            return self._config.kv_pages
        import psutil

        context = self._context.max_context_tokens or min(self._batches.context_tokens or DEFAULT_CONTEXT_TOKENS, DEFAULT_CONTEXT_TOKENS)
        request_pages = math.ceil(context / self._config.kv_page_tokens) + 1
        wanted = math.ceil(request_pages * self._context.max_concurrency / (1 - FREE_SHARE)) + 1
        model = self._batches.model.config.get_text_config()
        heads = getattr(model, "num_key_value_heads", None) or model.num_attention_heads
        width = getattr(model, "head_dim", None) or model.hidden_size // model.num_attention_heads
        page_bytes: int = 2 * self._config.kv_page_tokens * model.num_hidden_layers * heads * width * self._batches.model.dtype.itemsize
        room = int(psutil.virtual_memory().available * CPU_CACHE_SHARE) // page_bytes
        return max(request_pages + 1, min(wanted, room))

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """Report the iterations that are over; wait for one until `until_ns` where there is none. False where nothing is under way."""
        if self._tap is None or not self._requests:
            return False
        while True:
            wait_s = (until_ns - self._clock.now_ns()) / 1e9
            try:
                record = self._tap.records.get(block=wait_s > 0, timeout=min(POLL_S, wait_s) if wait_s > 0 else None)
            except queue.Empty:
                self._report_failures(sink)
                if wait_s <= 0 or not self._requests:
                    return bool(self._requests)
                continue
            self._report(record, sink)
            while not self._tap.records.empty():
                self._report(self._tap.records.get(), sink)
            self._report_failures(sink)
            return bool(self._requests)

    def _report(self, record: Iteration | Gone, sink: EngineSink) -> None:
        if isinstance(record, Gone):
            for name in record.sequences:
                self._streams[name].ended = self._streams[name].ended or "cancelled"
            ended = {self._streams[name].row.request for name in record.sequences}
            for request in ended & self._requests.keys():
                if self._requests[request].complete:
                    sink.failed(request, record.t_ns, "cancelled", "cancelled on demand")
                    self._forget(request)
            return
        for part in record.parts:
            submitted = self._requests.get(self._streams[part.sequence].row.request)
            if submitted is not None and submitted.started_ns is None:
                submitted.started_ns = record.t0_ns
                sink.started(submitted.request.request, record.t0_ns, submitted.queued_ns)
        for request, ids in take_output(record, self._streams).items():
            sink.tokens(request, record.t1_ns, len(ids), ids)
        sink.step(step_of(record, self._streams))
        for request in {self._streams[part.sequence].row.request for part in record.parts} & self._requests.keys():
            if self._requests[request].complete:
                self._finish(self._requests[request], sink)

    def _finish(self, submitted: Submitted, sink: EngineSink) -> None:
        streams, stop = submitted.streams, submitted.request.sampling.stop
        sink.finished(
            submitted.request.request,
            max(stream.ended_ns for stream in streams),
            "stop" if all(stream.ended == "stop" for stream in streams) else "length",
            input_tokens=len(streams[0].row.prompt),
            output_tokens=sum(len(stream.output) for stream in streams),
            cached_tokens=streams[0].cached or 0,
            sequences=len(streams),
            preemptions=sum(stream.preemptions for stream in streams),
            text="\n".join(text_before_stop(self._batches.tokenizer.text(stream.output), stop) for stream in streams),
        )
        self._forget(submitted.request.request)

    def _report_failures(self, sink: EngineSink) -> None:
        result = self._manager.get_result(timeout=0)
        while result is not None:
            request = int(result.request_id.split("/")[0])
            if result.error is not None and request in self._requests:
                sink.failed(request, self._clock.now_ns(), "error", str(result.error))
                self._forget(request)
            result = self._manager.get_result(timeout=0)
        if not self._manager.is_running():
            reason = f"Transformers' loop ended: {self._manager.background_thread_status.fatal_error}"
            sink.event(EventCode.ENGINE_ERROR, reason)
            for request in list(self._requests):
                sink.failed(request, self._clock.now_ns(), "error", reason)
                self._forget(request)

    def _forget(self, request: int) -> None:
        for stream in self._requests.pop(request).streams:
            self._rows.pop(stream.name, None)
            self._draws.pop(stream.name, None)
            self._past.append(stream.name)
        while len(self._past) > PAST_STREAMS:
            del self._streams[self._past.popleft()]

    def cancel(self, requests: Sequence[int], sink: EngineSink) -> None:
        """Take requests out and wait until the loop has let go of them; what ends meanwhile is reported as it ended."""
        leaving = [request for request in requests if request in self._requests]
        if self._tap is None or not leaving:
            return
        for request in leaving:
            names = [stream.name for stream in self._requests[request].streams]
            self._tap.leaving.update(names)
            for name in names:
                self._manager.cancel_request(name)
        deadline_ns = self._clock.now_ns() + int(CANCEL_TIMEOUT_S * 1e9)
        while any(request in self._requests for request in leaving) and self._clock.now_ns() < deadline_ns:
            self.advance(sink, self._clock.now_ns() + int(POLL_S * 1e9))

    def close(self) -> None:
        """End the loop and free the cache. Idempotent."""
        if self._manager is None:
            return
        manager, self._manager, self._tap = self._manager, None, None
        manager.stop(block=True, timeout=CANCEL_TIMEOUT_S, hard_stop=True)
        manager.destroy()
        for table in (self._rows, self._draws, self._streams, self._requests, self._past):
            table.clear()
