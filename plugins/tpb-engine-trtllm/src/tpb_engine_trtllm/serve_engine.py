"""The engine `trtllm_serve`: trtllm-serve behind the OpenAI client, with what it tells of requests and iterations beside its answers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tpb_core.api import Capabilities, EngineConfig, EngineContext, EngineDescription, EngineSink, EventCode, Request
from tpb_engine_openai import OpenAiEngine
from tpb_engine_trtllm.config import TrtllmServeConfig

if TYPE_CHECKING:
    from tpb_engine_trtllm.serve_statistics import ServeStatistics


class TrtllmServeEngine(OpenAiEngine):
    """A trtllm-serve that tpb starts with the options given, or a running one (`engine.url`)."""

    config_class: ClassVar[type[EngineConfig]] = TrtllmServeConfig
    capabilities: ClassVar[Capabilities] = replace(
        OpenAiEngine.capabilities, step_log=True, sampling=frozenset({"temperature", "top_p", "top_k", "n"})
    )

    def __init__(self, config: TrtllmServeConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self._asked = config
        self._statistics: ServeStatistics | None = None
        self._folder: str | None = None

    def own_capabilities(self) -> Capabilities:
        """As the OpenAI client has them; drawn tokens only where the sampler honours seeds; a step log where the statistics allow."""
        from tpb_engine_trtllm.library import is_engine_folder
        from tpb_engine_trtllm.sampling import honoured

        built = self._asked.backend == "tensorrt" or is_engine_folder(self._asked.model)
        step_log = self._asked.step_log if self._statistics is None else self._statistics.no_step_log is None
        drawn = honoured(self._asked, "tensorrt" if built else "pytorch")
        return replace(super().own_capabilities(), step_log=step_log, sampling=drawn, prefix_cache_control=self._asked.url is None)

    def open(self, sink: EngineSink) -> EngineDescription:
        """Start the server where no address is given, ask it what it is, and run a first request."""
        asked = self._asked
        if asked.url is None and asked.command is None:
            self._folder = tempfile.mkdtemp(prefix="tpb-trtllm-")
        try:
            self.config = self._reached()
            description = super().open(sink)
            self._watch(sink)
            return self._described(description)
        except BaseException:
            self.close()
            raise

    def _reached(self) -> TrtllmServeConfig:
        """The options with the command filled in. A server that we start serves one model, whatever it calls it."""
        from tpb_engine_trtllm.library import chosen_backend
        from tpb_engine_trtllm.serve_command import command_line, write_arguments

        asked = self._asked
        if self._folder is None:
            return asked
        file, backend = Path(self._folder) / "llm_args.yaml", chosen_backend(asked)
        command = command_line(asked, backend, file)
        write_arguments(asked, backend, file)
        return replace(asked, command=command, model=None)

    def _watch(self, sink: EngineSink) -> None:
        from tpb_engine_openai.address import Address
        from tpb_engine_openai.api_key import key_headers
        from tpb_engine_trtllm.library import chosen_backend
        from tpb_engine_trtllm.llm_arguments import needs_request_statistics
        from tpb_engine_trtllm.serve_statistics import ServeStatistics
        from tpb_engine_trtllm.step_log import StepLog
        from tpb_engine_trtllm.timed_endings import TimedEndings
        from tpb_engine_trtllm.wall_clock import WallClock

        asked, now_ns = self._asked, self.context.clock.now_ns
        assert self._server is not None and self._endings is not None
        address = self._questions.address if self._questions is not None else Address.parse(str(asked.url), "engine.url")
        backend = chosen_backend(asked) if asked.url is None else "tensorrt" if asked.backend == "tensorrt" else "pytorch"
        log = StepLog(WallClock(now_ns), stamped_at_start=backend == "pytorch", needs_requests=needs_request_statistics(asked, backend))
        headers = key_headers(asked.api_key_env, address, "engine.api_key_env")
        statistics = self._statistics = ServeStatistics(address, headers, log, now_ns)
        statistics.first_request(self._server.model, step_log=asked.step_log, request_metrics=asked.request_metrics)
        if asked.request_metrics and statistics.clock.problem is not None:
            sink.event(EventCode.TIMES_UNKNOWN, statistics.clock.problem)
        self._endings = TimedEndings(self._endings, statistics)

    def _described(self, description: EngineDescription) -> EngineDescription:
        from tpb_engine_trtllm.description import requested_options

        asked, statistics = self._asked, self._statistics
        assert statistics is not None
        description.requested = {**description.requested, **requested_options(asked)}
        description.requested.pop("model", None)
        if asked.url is None:
            description.prefix_cache = asked.prefix_cache
            description.effective["prefix_cache"] = asked.prefix_cache
            description.model["name"] = asked.model or description.model["name"]
        description.step_log = {
            "available": statistics.no_step_log is None,
            "members": False,
            "reason": statistics.no_step_log or "the iteration statistics name requests by ids of the server's own",
        }
        description.extensions["x_trtllm"] = {"request_times": statistics.clock.problem or "on the run clock"}
        return description

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """As the OpenAI client."""
        if self._statistics is not None:
            now_ns = self.context.clock.now_ns()
            self._statistics.submitted_ns |= {request.request: now_ns for request in requests}
        super().submit(requests, sink)

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """As the OpenAI client; ends are reported with the server's own times."""
        from tpb_engine_trtllm.timed_endings import TimedEndings

        under_way = super().advance(sink, until_ns)
        if isinstance(self._endings, TimedEndings):
            self._endings.flush(sink)
        return under_way

    def settle(self, sink: EngineSink) -> None:
        """The steps, from the server's iteration statistics."""
        super().settle(sink)
        if self._statistics is not None:
            self._statistics.settle(sink)

    def reset_caches(self) -> bool:
        """True where we started the server without block reuse."""
        return self._asked.url is None and self._asked.command is None and not self._asked.prefix_cache

    def close(self) -> None:
        """End the server where we started it. Idempotent."""
        statistics, self._statistics = self._statistics, None
        if statistics is not None:
            statistics.close()
        super().close()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
