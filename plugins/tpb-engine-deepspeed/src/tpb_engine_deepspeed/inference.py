"""`deepspeed.init_inference` on a Transformers model, and what it made of it. Imports torch, transformers and deepspeed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tpb_core.api import BadInput, Clock, Reason, Refused, Unavailable
from tpb_engine_deepspeed.config import DeepSpeedConfig
from tpb_engine_hf import description, loading
from tpb_engine_hf.generation import StaticBatches
from tpb_engine_hf.source import ModelSource
from tpb_engine_hf.tokens import HfTokenizer

INSTALL = "Install torch for this machine, then: DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed==0.19.8"
PROBE_TOKENS = 4
DEFAULT_CONTEXT_TOKENS = 4096


def library_version() -> str:
    """Version of deepspeed in this interpreter. Raises `Unavailable` where it or what it needs cannot be imported."""
    loading.library_version()
    try:
        import deepspeed
    except ImportError as error:
        raise Unavailable(f"DeepSpeed cannot be used in this interpreter: {error}.", reason=Reason.NOT_INSTALLED, fix=INSTALL) from error
    return str(deepspeed.__version__)


@dataclass
class Inference:
    """A model inside DeepSpeed's engine."""

    engine: Any
    batches: StaticBatches
    accelerator: str
    kernel_injection: bool
    tensor_parallel: int
    replaced_layers: int
    """Modules that DeepSpeed put in the place of the model's own."""

    def effective(self) -> dict[str, Any]:
        """Options as they are, beside those of the model."""
        return {
            "backend": "init_inference",
            "accelerator": self.accelerator,
            "kernel_injection": self.kernel_injection,
            "tensor_parallel": self.tensor_parallel,
        }

    def devices(self) -> list[str]:
        """Devices that hold the weights; of tensor parallelism one a process."""
        if self.tensor_parallel > 1 and self.accelerator == "cuda":
            return [f"cuda:{rank}" for rank in range(self.tensor_parallel)]
        return description.devices_in_use(self.batches.model)

    def close(self) -> None:
        """Give back DeepSpeed's workspace and leave the group of processes."""
        if self.kernel_injection:
            self.engine.destroy()
        if self.tensor_parallel > 1:
            import deepspeed.comm
            from deepspeed.inference.engine import InferenceEngine

            deepspeed.comm.destroy_process_group()
            InferenceEngine.inference_mp_group = None


def chosen_accelerator(config: DeepSpeedConfig) -> str:
    """`cpu` or `cuda`, told to DeepSpeed before it looks for itself. Raises `BadInput` for a GPU that is not there."""
    import torch

    accelerator = config.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and torch.cuda.device_count() < config.tensor_parallel:
        raise BadInput(
            f"{config.tensor_parallel} processes on GPUs are asked for, and this machine has {torch.cuda.device_count()} GPUs.",
            "Use engine.accelerator=cpu, or fewer processes.",
        )
    os.environ.setdefault("DS_ACCELERATOR", accelerator)
    from deepspeed.accelerator import get_accelerator

    name = str(get_accelerator().device_name())
    if name != accelerator:
        raise Refused(
            f"DeepSpeed drives {name} in this process, not {accelerator}.",
            f"Start tpb anew with DS_ACCELERATOR={accelerator} in the environment.",
        )
    return accelerator


@dataclass
class Prepared:
    """Tokenizer and model as Transformers loads them, before DeepSpeed sees them."""

    source: ModelSource
    tokenizer: Any
    model: Any
    accelerator: str
    kernel_injection: bool


def prepare(config: DeepSpeedConfig, source: ModelSource) -> Prepared:
    """Load tokenizer and model. Raises `BadInput`, `Unavailable`, `Refused`."""
    import torch

    loading.quieten()
    if config.threads:
        torch.set_num_threads(config.threads)
    accelerator = chosen_accelerator(config)
    injection = config.kernel_injection if config.kernel_injection is not None else accelerator == "cuda" and config.tensor_parallel == 1
    if injection and accelerator == "cpu":
        raise Refused("DeepSpeed has no kernels to inject on a CPU.", "Set engine.kernel_injection=false or leave it out.")
    tokenizer = loading.load_tokenizer(config, source)
    return Prepared(source, tokenizer, loading.load_model(config, source), accelerator, injection)


def wrap(config: DeepSpeedConfig, prepared: Prepared, clock: Clock, cancelled: Callable[[], Sequence[int]] = tuple) -> Inference:
    """Give the model to DeepSpeed; of tensor parallelism all ranks have to do so at the same time. Raises `Refused`.

    `cancelled`: see `StaticBatches`.
    """
    import deepspeed

    source, tokenizer, model, injection = prepared.source, prepared.tokenizer, prepared.model, prepared.kernel_injection
    special = loading.special_ids(model, tokenizer)
    loading.forget_defaults(model)
    context = description.context_tokens(model)
    before = {id(module) for module in model.modules()}
    try:
        engine = deepspeed.init_inference(
            model,
            dtype=model.dtype,
            tensor_parallel={"tp_size": config.tensor_parallel},
            replace_with_kernel_inject=injection,
            max_out_tokens=context or DEFAULT_CONTEXT_TOKENS,
        )
    except (ValueError, AssertionError, RuntimeError, NotImplementedError, AttributeError, ImportError) as error:
        raise Refused(
            f"DeepSpeed does not take {source.label}: {error}", "Try another engine.dtype or engine.kernel_injection=false."
        ) from error
    replaced = sum(id(module) not in before and type(module).__module__.startswith("deepspeed.") for module in engine.module.modules())
    if (injection or config.tensor_parallel > 1) and not replaced:
        raise Refused(
            f"DeepSpeed replaced no layer of {type(model).__name__}, so that this would be plain Transformers under its name.",
            "Set engine.kernel_injection=false and engine.tensor_parallel=1, or use the engine hf.",
        )
    settings: dict[str, Any] = {"disable_compile": True}
    if config.prefill_chunk_tokens:
        settings["prefill_chunk_size"] = config.prefill_chunk_tokens
    batches = StaticBatches(
        model=engine.module,
        generate=engine.generate,
        tokenizer=HfTokenizer(tokenizer),
        special=special,
        clock=clock,
        context_tokens=context,
        settings=settings,
        beams=False,
        cancelled=cancelled,
    )
    if replaced:
        _probe(batches, source)
    return Inference(engine, batches, prepared.accelerator, injection, config.tensor_parallel, replaced)


def _probe(batches: StaticBatches, source: ModelSource) -> None:
    """Replaced layers follow Transformers' interfaces of their time: find out now whether they still go together."""
    import torch
    from transformers import GenerationConfig

    ids = torch.full((1, PROBE_TOKENS), batches.special.padding, device=batches.model.device)
    settings = GenerationConfig(**batches.settings, max_new_tokens=2, num_beams=1, pad_token_id=batches.special.padding, do_sample=False)
    try:
        with torch.inference_mode():
            batches.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    except Exception as error:
        raise Refused(
            f"DeepSpeed's layers do not run {source.label} with these versions: {type(error).__name__}: {error}",
            "Set engine.kernel_injection=false, or use versions of deepspeed and transformers of about the same age.",
        ) from error
