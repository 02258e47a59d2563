"""The llama.cpp engine as tpb sees it: opens the model, describes it, hands requests to the scheduler, closes everything."""

from __future__ import annotations

from collections.abc import Sequence as Many
from importlib import metadata
from typing import TYPE_CHECKING, ClassVar

from tpb_core.api import Capabilities, Engine, EngineConfig, EngineContext, EngineDescription, EngineSink, Request, Tokenizer
from tpb_engine_llamacpp.config import LlamaCppConfig

if TYPE_CHECKING:
    from tpb_engine_llamacpp.kv_cells import KvCells
    from tpb_engine_llamacpp.loaded import Loaded
    from tpb_engine_llamacpp.scheduler import Scheduler
    from tpb_engine_llamacpp.tokens import LlamaTokenizer


class LlamaCppEngine(Engine[LlamaCppConfig]):
    """llama.cpp in this process, through llama-cpp-python's low-level bindings."""

    config_class: ClassVar[type[EngineConfig]] = LlamaCppConfig
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
        sampling=frozenset({"temperature", "top_p", "top_k", "stop"}),
    )

    def __init__(self, config: LlamaCppConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self._loaded: Loaded | None = None
        self._tokenizer: LlamaTokenizer | None = None
        self._cells: KvCells | None = None
        self._scheduler: Scheduler | None = None

    @classmethod
    def check(cls) -> str:
        """Version of llama-cpp-python, once its library has loaded. Raises `Unavailable`."""
        from tpb_engine_llamacpp.loaded import load_library

        load_library()
        return metadata.version("llama-cpp-python")

    def open(self, sink: EngineSink) -> EngineDescription:
        """Load model and context. Raises `BadInput`, `Refused` and `Unavailable`, with nothing left behind."""
        from tpb_engine_llamacpp.choice import StopStrings  # noqa: F401 - imported with the rest before timing begins
        from tpb_engine_llamacpp.description import describe
        from tpb_engine_llamacpp.intake import Intake
        from tpb_engine_llamacpp.iteration import Iteration
        from tpb_engine_llamacpp.kv_cells import KvCells
        from tpb_engine_llamacpp.loaded import Loaded, load_library
        from tpb_engine_llamacpp.model_file import find_model
        from tpb_engine_llamacpp.native_log import LOG
        from tpb_engine_llamacpp.scheduler import Scheduler
        from tpb_engine_llamacpp.tokens import LlamaTokenizer

        path = find_model(self.config.model)
        lib = load_library()
        LOG.attach(lib, self.context.log_path)
        try:
            loaded = self._loaded = Loaded(lib, path, self.config, self.context)
            tokenizer = self._tokenizer = LlamaTokenizer(loaded, self.config.chat_template)
            cells = self._cells = KvCells(loaded, keep_prompts=self.config.prefix_cache)
            self._scheduler = Scheduler(
                Intake(loaded, tokenizer),
                Iteration(loaded, self.context.clock),
                cells,
                self.context.clock,
                lambda sequence: sequence.stops.text() if sequence.stops else tokenizer.text(sequence.outputs, special=False),
                most=min(self.context.max_concurrency, loaded.sequences),
                budget=loaded.batch_tokens,
            )
            return describe(loaded, tokenizer, self.config)
        except BaseException:
            self.close()
            raise

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; `open` comes first."""
        assert self._tokenizer is not None, "the engine is not open"
        return self._tokenizer

    def run_batch(self, requests: Many[Request], sink: EngineSink) -> None:
        """A static batch, from its first prompt token to its last output token."""
        self._open_scheduler().run_batch(requests, sink, self.context.cancelled)

    def submit(self, requests: Many[Request], sink: EngineSink) -> None:
        """Queue requests; those that can never fit are rejected."""
        self._open_scheduler().submit(requests, sink)

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """One step. llama.cpp has no background work, so there is nothing to wait for."""
        return self._open_scheduler().advance(sink)

    def cancel(self, requests: Many[int], sink: EngineSink) -> None:
        """End requests early; unknown and finished ones are passed over."""
        self._open_scheduler().cancel(requests, sink)

    def reset_caches(self) -> bool:
        """Forget the prompts that are kept for reuse."""
        if self._cells is not None:
            self._cells.forget_prompts()
        return True

    def close(self) -> None:
        """Free context and model and close the log. Idempotent; works after a failed `open`."""
        self._scheduler = self._cells = self._tokenizer = None
        if self._loaded is not None:
            from tpb_engine_llamacpp.native_log import LOG

            self._loaded.close()
            self._loaded = None
            LOG.detach()

    def _open_scheduler(self) -> Scheduler:
        assert self._scheduler is not None, "the engine is not open"
        return self._scheduler
