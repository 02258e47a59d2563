"""The DeepSpeed engine: a Transformers model inside DeepSpeed's InferenceEngine. Nothing heavy is imported until `check` or `open`.

What DeepSpeed cannot do here is refused. It is never replaced by plain Transformers under DeepSpeed's name.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from tpb_core.api import Capabilities, Engine, EngineContext, EngineDescription, EngineSink, Refused, Request, Tokenizer
from tpb_engine_deepspeed.config import DeepSpeedConfig
from tpb_engine_hf.source import locate

if TYPE_CHECKING:
    from tpb_engine_deepspeed.inference import Inference
    from tpb_engine_deepspeed.ranks import Ranks


class DeepSpeedEngine(Engine[DeepSpeedConfig]):
    """Static batches through DeepSpeed's `generate`."""

    config_class: ClassVar[type[DeepSpeedConfig]] = DeepSpeedConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        static_batch=True,
        batch_cancel=True,
        step_log=True,
        step_members=True,
        token_stamps=True,
        exact_output_length=True,
        prefix_cache_control=True,
        tokenizer=True,
        token_input=True,
        sampling=frozenset({"temperature", "top_p", "top_k", "n", "stop", "exact_output_length"}),
    )

    def __init__(self, config: DeepSpeedConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self._inference: Inference | None = None
        self._ranks: Ranks | None = None

    @classmethod
    def check(cls) -> str:
        """Version of deepspeed in this interpreter."""
        from tpb_engine_deepspeed.inference import library_version

        return library_version()

    def own_capabilities(self) -> Capabilities:
        """Of tensor parallelism the other processes do not hear of a cancelled request."""
        return replace(self.capabilities, batch_cancel=self.config.tensor_parallel == 1)

    def open(self, sink: EngineSink) -> EngineDescription:
        """Load the model and hand it to `init_inference`, in this process and, for tensor parallelism, in as many others."""
        config = self.config
        if config.backend != "init_inference":
            raise Refused(
                f"engine.backend={config.backend} is not supported: FastGen and MII run on NVIDIA GPUs only and batch by themselves.",
                "Use engine.backend=init_inference, or the engine vllm for continuous batching.",
            )
        if config.prefix_cache:
            raise Refused("DeepSpeed's init_inference has no prefix cache.", "Set engine.prefix_cache=false.")
        version = self.check()
        source = locate(config)
        from tpb_engine_deepspeed import inference
        from tpb_engine_deepspeed.ranks import Ranks
        from tpb_engine_hf import description

        if config.tensor_parallel > 1:
            self._ranks = Ranks.start(config, self.context.log_path)
        prepared = inference.prepare(config, source)
        if self._ranks is not None:
            self._ranks.meet()
        # the other ranks would go on with a batch that this one has left
        alone = self._ranks is None
        self._inference = inference.wrap(config, prepared, self.context.clock, lambda: self.context.cancelled() if alone else ())
        model = self._inference.batches.model
        return EngineDescription(
            name=config.name,
            version=version,
            model=description.model_facts(model, source),
            dtype=description.dtype_name(model),
            quantization=description.quantization_name(model, source),
            tokenizer=self._inference.batches.tokenizer.describe(),
            requested=description.requested_options(config),
            effective=description.effective_options(model, config) | self._inference.effective(),
            prefix_cache=False,
            instances=[{"instance": "0", "role": "mixed", "node": self.context.node, "devices": self._inference.devices()}],
            step_log={"available": True, "members": True, "reason": None},
            extensions={"x_transformers": description.transformers_version(), "x_replaced_layers": self._inference.replaced_layers},
        )

    def _opened(self) -> Inference:
        if self._inference is None:
            raise Refused("The engine is not open.", "This is a fault of the caller: call open first.")
        return self._inference

    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self._opened().batches.tokenizer

    def run_batch(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """One `generate` call, left-padded, on all processes."""
        inference = self._opened()
        if self._ranks is not None:
            requests = self._ranks.share(requests)
        inference.batches.run(requests, sink)

    def reset_caches(self) -> bool:
        """There is nothing to forget: each batch begins with an empty cache."""
        return True

    def processes(self) -> list[int]:
        """The other processes of tensor parallelism."""
        return self._ranks.pids() if self._ranks is not None else []

    def close(self) -> None:
        """End the other processes and free the model."""
        ranks, self._ranks = self._ranks, None
        inference, self._inference = self._inference, None
        try:
            if inference is not None:
                inference.close()
        finally:
            if ranks is not None:
                ranks.close()
        if inference is None:
            return
        del inference
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
