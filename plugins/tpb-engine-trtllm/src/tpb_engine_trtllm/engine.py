"""The engine `trtllm`: TensorRT-LLM's LLM API in this process. Nothing heavy is imported until `check` or `open`."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tpb_core.api import (
    Capabilities,
    Engine,
    EngineConfig,
    EngineContext,
    EngineDescription,
    EngineSink,
    Refused,
    Request,
    Tokenizer,
)
from tpb_engine_trtllm.config import TrtllmConfig

if TYPE_CHECKING:
    from tpb_engine_trtllm.ending import Endings
    from tpb_engine_trtllm.session import LlmSession

_PATIENCE_S = 10.0


class TrtllmEngine(Engine[TrtllmConfig]):
    """Requests that join and leave at any time (in-flight batching); token ids in, token ids out."""

    config_class: ClassVar[type[EngineConfig]] = TrtllmConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        concurrent_streams=True,
        step_log=True,
        token_stamps=True,
        exact_output_length=True,
        prefix_cache_control=True,
        tokenizer=True,
        token_input=True,
        sampling=frozenset({"temperature", "top_p", "top_k", "n"}),
    )

    def __init__(self, config: TrtllmConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self._session: LlmSession | None = None
        self._endings: Endings | None = None
        self._under_way: set[int] = set()
        self._children: set[int] = set()
        self._backend: str | None = None

    @classmethod
    def check(cls) -> str:
        """Version of tensorrt_llm in this interpreter."""
        from tpb_engine_trtllm.library import version

        return version()

    def own_capabilities(self) -> Capabilities:
        """Drawn tokens only where seeds are honoured; a step log where the first request's statistics were good enough for one."""
        from tpb_engine_trtllm.sampling import honoured

        step_log = self.config.step_log if self._session is None else self._session.no_step_log is None
        return replace(self.capabilities, step_log=step_log, sampling=honoured(self.config, self._backend))

    def open(self, sink: EngineSink) -> EngineDescription:
        """Load the model, run a first request, and judge by it what can be known of the others."""
        from tpb_engine_trtllm import library
        from tpb_engine_trtllm.description import capacity_never_evicts, describe
        from tpb_engine_trtllm.ending import Endings
        from tpb_engine_trtllm.session import LlmSession

        config = replace(self.config, model=library.check_model(self.config.model))
        self._backend = library.chosen_backend(config)
        version = self.check()
        before = _descendants()
        try:
            session = self._session = LlmSession(config, self._backend, self.context.clock)
            self._children = _descendants() - before
            session.first_request()
            self._endings = Endings(session.clock, session.tokenizer, prefix_cache=config.prefix_cache,
                                    never_evicts=capacity_never_evicts(session.llm.args))  # fmt: skip
            if session.clock.problem is not None and config.request_metrics:
                self._endings.distrust(session.clock.problem, sink)
            return describe(config, session.llm, self._backend, version, session.tokenizer, node=self.context.node,
                            step_log=session.no_step_log, clock=session.clock.problem)  # fmt: skip
        except BaseException:
            self.close()
            raise

    def _opened(self) -> LlmSession:
        if self._session is None:
            raise Refused("the engine is not open", "This is a fault of the caller: call open first.")
        return self._session

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._opened().tokenizer

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Hand requests to the executor; returns at once. Raises BadInput and Refused for sampling that is not honoured exactly."""
        session = self._opened()
        for request in requests:
            session.submit(request)
            self._under_way.add(request.request)

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """Wait for something to report, `until_ns` at the latest, and report it."""
        from tpb_engine_trtllm.streams import Tokens

        if self._session is None or self._endings is None or not self._under_way:
            return False
        self._session.streams.wait(until_ns)
        for report in self._session.streams.take():
            if isinstance(report, Tokens):
                sink.tokens(report.request, report.t_ns, len(report.ids), report.ids)
                self._session.reported_tokens += len(report.ids)
            else:
                self._under_way.discard(report.request.request)
                self._endings.report(report, sink)
        if self._under_way:
            self._session.drain_if_due(sink)
        return bool(self._under_way)

    def report_fd(self) -> int | None:
        """Readable when a request has ended."""
        return None if self._session is None else self._session.streams.fileno()

    def cancel(self, requests: Sequence[int], sink: EngineSink) -> None:
        """Abort these requests; they are reported as cancelled by `advance`."""
        for request in requests:
            if self._session is not None and request in self._under_way:
                self._session.streams.cancel(request)

    def settle(self, sink: EngineSink) -> None:
        """The last iterations' steps: their statistics come a moment later."""
        if self._session is not None:
            self._session.settle(sink)

    def reset_caches(self) -> bool:
        """True where block reuse is off. There is no public call that forgets reusable blocks."""
        return not self.config.prefix_cache

    def processes(self) -> list[int]:
        """Ranks that the library started."""
        return sorted(pid for pid in self._children if _is_alive(pid))

    def close(self) -> None:
        """Shut the executor down; end for certain what it started."""
        session, self._session, self._endings = self._session, None, None
        self._under_way.clear()
        if session is not None:
            session.close()
            gc.collect()
        deadline = time.monotonic() + _PATIENCE_S
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._children = set()


def _descendants() -> set[int]:
    """All processes that descend from this one; empty where the system does not say."""
    found: set[int] = set()
    open_ones = [os.getpid()]
    while open_ones:
        for task in Path(f"/proc/{open_ones.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                fresh = {int(pid) for pid in task.read_text().split()} - found
                found |= fresh
                open_ones += fresh
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (OSError, IndexError):
        return False
