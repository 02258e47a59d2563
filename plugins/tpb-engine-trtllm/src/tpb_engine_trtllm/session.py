"""One loaded model: the LLM object, its streams, its clock and its iteration statistics. Imports tensorrt_llm."""

from __future__ import annotations

import contextlib
import importlib
import time
from typing import Any

from tpb_core.api import BadInput, Clock, EngineSink, EventCode, MeasurementFailed, Request, Sampling
from tpb_engine_trtllm import library, llm_arguments, sampling
from tpb_engine_trtllm.config import TrtllmConfig
from tpb_engine_trtllm.executor_clock import ExecutorClock, as_ns, compare
from tpb_engine_trtllm.step_log import StepLog
from tpb_engine_trtllm.streams import Ended, Streams
from tpb_engine_trtllm.tokens import LlmTokenizer
from tpb_engine_trtllm.wall_clock import WallClock

_FIRST_TOKENS = 3
_FIRST_PATIENCE_S = 300.0
"""CUDA graphs and autotuning may fall into the first request."""
_STATS_PATIENCE_S = 3.0
_DRAIN_S = 1.0
_LAST_ROWS_S = 0.3
"""Until the last statistics of the first request have come, so that none of them is taken for one of the load."""


class LlmSession:
    """Built and used by the engine's thread. Raises BadInput for options that TensorRT-LLM refuses, MeasurementFailed otherwise."""

    def __init__(self, config: TrtllmConfig, backend: str, clock: Clock) -> None:
        self._config, self._backend, self._now_ns = config, backend, clock.now_ns
        library_root = library.load("tensorrt_llm")
        self._parameters_class = library_root.SamplingParams
        self._parameter_names = set(getattr(self._parameters_class, "__dataclass_fields__", ()))
        self.llm = self._load(library.llm_class(backend))
        if self.llm.tokenizer is None:
            self.llm.shutdown()
            raise BadInput(f"engine.model={config.model} brings no tokenizer", "Name one:  engine.tokenizer=FOLDER_OR_HUB_NAME")
        self.tokenizer = LlmTokenizer(self.llm.tokenizer)
        self.streams = Streams(self.llm, self._now_ns, config.request_timeout_s)
        self.clock = ExecutorClock()
        self.no_step_log: str | None = "engine.step_log=false"
        self.reported_tokens = 0
        self._log = StepLog(
            WallClock(self._now_ns),
            stamped_at_start=backend == "pytorch",
            needs_requests=llm_arguments.needs_request_statistics(config, backend),
        )
        self._drained_s = time.monotonic()

    def _load(self, llm_class: Any) -> Any:
        config, model = self._config, self._config.model
        arguments = llm_arguments.fitting(
            llm_arguments.plain_arguments(config, self._backend), library.accepted(self._backend), backend=self._backend
        )
        try:
            arguments = llm_arguments.constructed(arguments, library.load("tensorrt_llm.llmapi"), config)
            return llm_class(model=model, tokenizer=config.tokenizer, **arguments)
        except (ValueError, TypeError) as error:  # pydantic's ValidationError is a ValueError
            raise BadInput(
                f"TensorRT-LLM refuses these options: {' '.join(str(error).split())[:600]}", "See engine.llm_args and --help."
            ) from error
        except (OSError, RuntimeError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise MeasurementFailed(f"TensorRT-LLM does not load {model}: {lines[0][:300]}", "Its own words are in worker.log.") from error

    def submit(self, request: Request) -> None:
        """Begin a request. Raises BadInput, Refused."""
        parameters = self._parameters_class(
            **sampling.parameters(request.sampling, self._parameter_names, timed=self._config.request_metrics)
        )
        self.streams.submit(request, sampling.prompt_ids(request), parameters)

    def first_request(self) -> None:
        """Run one short request: its times bracket the executor's clock, its iterations show whether there is a step log."""
        with contextlib.suppress(ImportError, AttributeError):  # a release without it: the first request has to do
            compare(self.clock, importlib.import_module("tensorrt_llm.bindings").steady_clock_now, self._now_ns)
        if self._config.step_log:
            self._stats()  # iterations of warming up
        ids = self.tokenizer.encode(["The sun rises in the east."])[0] or [1]
        begin_ns = self._now_ns()
        self.submit(Request(-1, "first", Sampling(_FIRST_TOKENS, exact_output_length=True), input_ids=ids))
        ended = self._await_end()
        if ended.status != "ok":
            raise MeasurementFailed(f"TensorRT-LLM failed at its first request: {ended.error}", "Its own words are in worker.log.")
        if self._config.request_metrics:
            self._bracket(ended)
        if self._config.step_log:
            self.no_step_log = self._judge_statistics(begin_ns)

    def _await_end(self) -> Ended:
        give_up = time.monotonic() + _FIRST_PATIENCE_S
        while time.monotonic() < give_up:
            self.streams.wait(self._now_ns() + 50_000_000)
            for report in self.streams.take():
                if isinstance(report, Ended):
                    return report
        raise MeasurementFailed("TensorRT-LLM did not answer its first request", "Its own words are in worker.log.")

    def _bracket(self, ended: Ended) -> None:
        """The clock of the executor, which may be another process than the one that `steady_clock_now` was asked in."""
        timing = getattr(ended.metrics[0] if ended.metrics else None, "timing_metrics", None)
        first, last = (as_ns(getattr(timing, name, None)) for name in ("arrival_time", "last_token_time"))
        if first is None or last is None:
            self.clock.problem = "TensorRT-LLM gave no times for its first request (return_perf_metrics)"
        elif self.clock.problem is None or self.clock.low_ns <= self.clock.high_ns:
            self.clock.bracket(ended.submitted_ns, first, last, ended.t_ns)

    def _judge_statistics(self, begin_ns: int) -> str | None:
        if (self._config.pipeline_parallel or 1) > 1:
            return "with pipeline parallelism micro-batches overlap, and their statistics do not tell the stages apart"
        rows: list[Any] = []
        give_up = time.monotonic() + _STATS_PATIENCE_S
        while time.monotonic() < give_up:
            rows += self._stats()
            refusal = self._log.refusal(rows, begin_ns, self._now_ns())
            if refusal is None and len(rows) >= _FIRST_TOKENS:
                break
            time.sleep(0.05)
        refusal = self._log.refusal(rows, begin_ns, self._now_ns())
        time.sleep(_LAST_ROWS_S)
        self._log.forget([*rows, *self._stats()])
        return refusal

    def _stats(self) -> list[Any]:
        """Statistics since the last call. In some releases a call that found nothing stays shut until the next request: it is opened."""
        results = getattr(getattr(self.llm, "_executor", None), "_iter_stats_result", None)
        if results is not None and hasattr(results, "mark_undone"):
            results.mark_undone()
        self._drained_s = time.monotonic()
        return list(self.llm.get_stats(timeout=0))

    def drain_if_due(self, sink: EngineSink) -> None:
        """Once a second, so that nothing is thrown away in a long run."""
        if self.no_step_log is None and time.monotonic() - self._drained_s >= _DRAIN_S:
            self._log.report(self._stats(), sink)

    def settle(self, sink: EngineSink) -> None:
        """All steps of what has ended; an event where they do not add up to the tokens that came out."""
        if self.no_step_log is not None or self.reported_tokens == self._log.emitted_tokens:
            return
        give_up = time.monotonic() + _STATS_PATIENCE_S
        while time.monotonic() < give_up:
            self._log.report(self._stats(), sink)
            if self._log.emitted_tokens >= self.reported_tokens:
                break
            time.sleep(0.02)
        if self._log.emitted_tokens != self.reported_tokens:
            words = f"the step log has {self._log.emitted_tokens} output tokens and the requests {self.reported_tokens}"
            sink.event(EventCode.TOKENS_DIFFER, words)
            self.reported_tokens = self._log.emitted_tokens

    def close(self) -> None:
        """End streams and executor. Idempotent."""
        self.streams.close()
        llm, self.llm = self.llm, None
        if llm is not None:
            llm.shutdown()
