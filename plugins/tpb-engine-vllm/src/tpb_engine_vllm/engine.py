"""The engine `vllm`: vLLM's LLMEngine with its core in the worker's own process, stepped by us. Nothing heavy is imported before `open`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tpb_core.api import Capabilities, Engine, EngineContext, EngineDescription, EngineSink, Refused, Request, Tokenizer
from tpb_engine_vllm.arguments import LORA_NAME, environment
from tpb_engine_vllm.config import VllmConfig
from tpb_engine_vllm.library import library_version, own_environment, prepare
from tpb_engine_vllm.models import find_models
from tpb_engine_vllm.room import Room
from tpb_engine_vllm.shared_memory import SharedMemory

if TYPE_CHECKING:
    from tpb_engine_hf.tokens import HfTokenizer
    from tpb_engine_vllm.loop import EngineLoop


class VllmEngine(Engine[VllmConfig]):
    """vLLM in this process, one step at a time, with a step log from its scheduler."""

    config_class: ClassVar[type[VllmConfig]] = VllmConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        static_batch=True,
        batch_cancel=True,
        concurrent_streams=True,
        step_log=True,
        step_members=True,
        token_stamps=True,
        exact_output_length=True,
        prefix_cache_control=True,
        tokenizer=True,
        token_input=True,
        sampling=frozenset({"temperature", "top_p", "top_k", "n", "stop"}),
    )

    def __init__(self, config: VllmConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self._engine: Any = None
        self._tokenizer: HfTokenizer | None = None
        self._loop: EngineLoop | None = None
        self._shared: SharedMemory | None = None
        self._static_batch = True

    @classmethod
    def check(cls) -> str:
        """Version of vLLM in this interpreter."""
        return library_version()

    def own_capabilities(self) -> Capabilities:
        """After `open`: static batches only where any batch that the load can form is prefilled in one step."""
        return replace(self.capabilities, static_batch=self._static_batch)

    def open(self, sink: EngineSink) -> EngineDescription:
        """Load the model; compile and capture graphs unless engine.enforce_eager."""
        version, config = self.check(), self.config
        source = find_models(config)
        if config.data_parallel > 1:
            raise Refused(
                "vLLM's replicas are processes of their own, and engine=vllm has its one engine in this process.",
                "Use engine=vllm_serve for engine.data_parallel.",
            )
        own_variables = own_environment()
        prepare(environment(config), in_process=True)
        from tpb_engine_hf.tokens import HfTokenizer
        from tpb_engine_vllm import loading
        from tpb_engine_vllm.description import describe

        started = loading.start(config, source, self.context.clock)
        self._engine = engine = started.engine
        self._shared = SharedMemory([os.getpid(), *_children()])
        if started.compiled is not None:
            sink.window("compile", *started.compiled)
        from vllm.lora.request import LoRARequest

        from tpb_engine_vllm.loop import EngineLoop

        told = engine.vllm_config
        room = Room(
            request_tokens=told.model_config.max_model_len,
            step_tokens=told.scheduler_config.max_num_batched_tokens,
            sequences=told.scheduler_config.max_num_seqs,
            blocks=told.cache_config.num_gpu_blocks - 1,  # vLLM keeps one for itself
            block_tokens=told.cache_config.block_size,
        )
        self._static_batch = room.holds_any_batch(self.context.max_concurrency)
        self._tokenizer = HfTokenizer(engine.get_tokenizer())
        self._loop = EngineLoop(
            engine,
            self._tokenizer,
            room,
            self.context,
            drafts=told.speculative_config is not None,
            adapter=LoRARequest(LORA_NAME, 1, config.lora) if config.lora else None,
        )
        return describe(config, source, engine, self._tokenizer.describe(), version, self.context.node, own_variables)

    def _opened(self) -> EngineLoop:
        if self._loop is None:
            raise Refused("The engine is not open.", "This is a fault of the caller: call open first.")
        return self._loop

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; its chat template is applied by us."""
        self._opened()
        assert self._tokenizer is not None
        return self._tokenizer

    def run_batch(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """A static batch: all prompts in one step, then decoding."""
        self._opened().run_batch(requests, sink)

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Hand requests to vLLM's scheduler."""
        self._opened().submit(requests, sink)

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """One step of vLLM."""
        return self._loop.advance(sink) if self._loop is not None else False

    def cancel(self, requests: Sequence[int], sink: EngineSink) -> None:
        """End requests early."""
        if self._loop is not None:
            self._loop.cancel(requests, sink)

    def reset_caches(self) -> bool:
        """Forget cached prompts."""
        return bool(self._engine is not None and self._engine.reset_prefix_cache())

    def processes(self) -> list[int]:
        """Worker processes of tensor and pipeline parallelism."""
        return [] if self._engine is None else _children()

    def close(self) -> None:
        """End the engine and its workers and give the memory back."""
        loop, engine, shared = self._loop, self._engine, self._shared
        self._loop = self._engine = self._tokenizer = self._shared = None
        if loop is not None:
            loop.close()
            del loop
        if engine is not None:
            from tpb_engine_vllm.loading import stop

            stop(engine)
        if shared is not None:
            shared.close()


def _children() -> list[int]:
    """Processes that this one has started and that are still there, by Linux's own list."""
    found: list[int] = []
    for listing in Path("/proc/self/task").glob("*/children"):
        found += map(int, listing.read_text().split())
    return sorted(found)
