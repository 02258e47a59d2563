"""The Transformers engine. Nothing heavy is imported until `check` or `open`."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from tpb_core.api import (
    BadInput,
    Capabilities,
    Engine,
    EngineContext,
    EngineDescription,
    EngineSink,
    Refused,
    Request,
    Tokenizer,
)
from tpb_engine_hf.config import HfConfig
from tpb_engine_hf.source import locate, locate_name

if TYPE_CHECKING:
    from tpb_engine_hf.continuous import ContinuousBatching
    from tpb_engine_hf.generation import StaticBatches


class HfEngine(Engine[HfConfig]):
    """Static batches through `generate`; requests that come and go through Transformers' continuous batching."""

    config_class: ClassVar[type[HfConfig]] = HfConfig
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
        sampling=frozenset({"temperature", "top_p", "top_k", "n", "beam_width", "stop", "exact_output_length"}),
    )

    def __init__(self, config: HfConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self._batches: StaticBatches | None = None
        self._continuous: ContinuousBatching | None = None

    @classmethod
    def check(cls) -> str:
        """Version of transformers in this interpreter."""
        from tpb_engine_hf.loading import library_version

        return library_version()

    def open(self, sink: EngineSink) -> EngineDescription:
        """Load tokenizer, model and, where asked for, a draft model; compile where asked for."""
        version = self.check()
        import torch

        from tpb_engine_hf import compiling, description, loading
        from tpb_engine_hf.generation import StaticBatches
        from tpb_engine_hf.tokens import HfTokenizer

        config = self.config
        source = locate(config)
        loading.quieten()
        if config.threads:
            torch.set_num_threads(config.threads)
        if config.assistant_model and config.prompt_lookup_tokens:
            raise BadInput(
                "Both a draft model and prompt look-up are asked for.", "Leave out engine.assistant_model or engine.prompt_lookup_tokens."
            )
        device = loading.chosen_device(config)
        quantization = loading.quantization_argument(config)
        placement = {"device_map": config.device_map or device} if config.device_map or quantization else {}
        tokenizer = loading.load_tokenizer(config, source)
        model = loading.load_model(config, source, **placement, **quantization)
        if not placement:
            model.to(device)
        special = loading.special_ids(model, tokenizer)
        loading.forget_defaults(model)
        settings: dict[str, Any] = {"disable_compile": True}
        if config.cache != "dynamic":
            settings["cache_implementation"] = config.cache
        if config.prefill_chunk_tokens:
            settings["prefill_chunk_size"] = config.prefill_chunk_tokens
        if config.prompt_lookup_tokens:
            settings["prompt_lookup_num_tokens"] = config.prompt_lookup_tokens
        batches = StaticBatches(
            model=model,
            generate=model.generate,
            tokenizer=HfTokenizer(tokenizer),
            special=special,
            clock=self.context.clock,
            context_tokens=description.context_tokens(model),
            settings=settings,
            assistant=self._draft_model(loading, device) if config.assistant_model else None,
            cancelled=lambda: self.context.cancelled(),
        )
        self._batches = batches
        effective = description.effective_options(model, config) | {
            "cache": config.cache,
            "device": description.device_name(model, config.device),
            "quantization": description.quantization_name(model, source) or "none",
        }
        if config.compile:
            t0_ns, t1_ns = compiling.compile_forward(batches, config.compile_mode, self.context.max_context_tokens)
            sink.window("compile", t0_ns, t1_ns)
            effective |= {"compile": True, "compile_mode": config.compile_mode}
        instances = [{"instance": "0", "role": "mixed", "node": self.context.node, "devices": description.devices_in_use(model)}]
        if batches.assistant is not None:
            instances.append(
                {"instance": "draft", "role": "draft", "node": self.context.node, "devices": description.devices_in_use(batches.assistant)}
            )
        return EngineDescription(
            name=config.name,
            version=version,
            model=description.model_facts(model, source),
            dtype=description.dtype_name(model),
            quantization=description.quantization_name(model, source),
            tokenizer=batches.tokenizer.describe(),
            requested=description.requested_options(config),
            effective=effective,
            prefix_cache=config.prefix_cache,
            instances=instances,
            step_log={"available": True, "members": True, "reason": None},
            extensions={"x_torch": str(torch.__version__)},
        )

    def _draft_model(self, loading: Any, device: str) -> Any:
        config = self.config
        assert config.assistant_model is not None
        draft = loading.load_model(replace(config, model=config.assistant_model), locate_name(config.assistant_model)).to(device)
        loading.forget_defaults(draft)
        draft.generation_config.num_assistant_tokens = config.assistant_tokens
        draft.generation_config.num_assistant_tokens_schedule = "constant"
        draft.generation_config.assistant_confidence_threshold = 0.0
        return draft

    def _opened(self) -> StaticBatches:
        if self._batches is None:
            raise Refused("The engine is not open.", "This is a fault of the caller: call open first.")
        return self._batches

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._opened().tokenizer

    def run_batch(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """One `generate` call, left-padded."""
        if self.config.prefix_cache:
            raise Refused("Static batches of Transformers have no prefix cache.", "Set engine.prefix_cache=false, or use load=closed.")
        self._end_continuous()
        self._opened().run(requests, sink)

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Hand requests to continuous batching; it is set up by the first of them."""
        if self._continuous is None:
            from tpb_engine_hf.continuous import ContinuousBatching

            self._continuous = ContinuousBatching(self._opened(), self.config, self.context)
        self._continuous.submit(requests, sink)

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """Report the next iteration, or wait for one until `until_ns`."""
        return self._continuous.advance(sink, until_ns) if self._continuous is not None else False

    def cancel(self, requests: Sequence[int], sink: EngineSink) -> None:
        """Take requests out of continuous batching."""
        if self._continuous is not None:
            self._continuous.cancel(requests, sink)

    def reset_caches(self) -> bool:
        """Forget cached prompts: the paged cache is given up and set up anew with the next request."""
        self._end_continuous()
        return True

    def _end_continuous(self) -> None:
        if self._continuous is not None:
            self._continuous.close()
            self._continuous = None

    def close(self) -> None:
        """Free the model and, on an accelerator, its memory."""
        self._end_continuous()
        if self._batches is None:
            return
        self._batches = None
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
