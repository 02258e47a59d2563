"""What vLLM really runs with, read back from its own configuration: the manifest's `engine` entry."""

from __future__ import annotations

from typing import Any

from tpb_core.api import EngineDescription
from tpb_engine_hf.source import ModelSource
from tpb_engine_vllm.arguments import BYTES_PER_GIB
from tpb_engine_vllm.config import VllmConfig, devices


def describe(
    config: VllmConfig,
    source: ModelSource,
    engine: Any,
    tokenizer: dict[str, Any],
    version: str,
    node: str,
    own_environment: dict[str, str],
) -> EngineDescription:
    """The description of a started engine. `own_environment`: what the user had set for vLLM."""
    told = engine.vllm_config
    quantization = told.model_config.quantization
    return EngineDescription(
        name=config.name,
        version=version,
        model=_model(source, told.model_config),
        dtype=_dtype(told.model_config.dtype),
        quantization=None if quantization is None else str(quantization),
        tokenizer=tokenizer,
        requested=config.requested(),
        effective=effective_options(config, told),
        prefix_cache=bool(told.cache_config.enable_prefix_caching),
        instances=[{"instance": "0", "role": "mixed", "node": node, "devices": devices(config, told.device_config.device_type)}],
        step_log={"available": True, "members": True, "reason": None},
        extensions={
            "x_vllm": {
                "attention_backend": _name(told.attention_config.backend),
                "compilation_mode": _name(told.compilation_config.mode),
                "cudagraph_mode": _name(told.compilation_config.cudagraph_mode),
                "executor": _name(told.parallel_config.distributed_executor_backend),
                "kv_blocks": told.cache_config.num_gpu_blocks,
                "block_tokens": told.cache_config.block_size,
                "step_time": "from before the scheduler runs until its books are closed: the output tokens are on the host",
                "environment": own_environment,
            }
        },
    )


def effective_options(config: VllmConfig, told: Any) -> dict[str, Any]:
    """Options as they are in vLLM's configuration, under the names that they were asked by."""
    model, cache, parallel, scheduler = told.model_config, told.cache_config, told.parallel_config, told.scheduler_config
    effective: dict[str, Any] = {
        "dtype": _dtype(model.dtype),
        "quantization": "none" if model.quantization is None else str(model.quantization),
        "kv_cache_dtype": str(cache.cache_dtype),
        "tensor_parallel": parallel.tensor_parallel_size,
        "pipeline_parallel": parallel.pipeline_parallel_size,
        "data_parallel": parallel.data_parallel_size,
        "expert_parallel": bool(parallel.enable_expert_parallel),
        "max_num_seqs": scheduler.max_num_seqs,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
        "max_model_len": model.max_model_len,
        "chunked_prefill": bool(scheduler.enable_chunked_prefill),
        "async_scheduling": bool(scheduler.async_scheduling),
        "enforce_eager": bool(model.enforce_eager),
        "gpu_memory_utilization": cache.gpu_memory_utilization,
        "trust_remote_code": bool(model.trust_remote_code),
        "prefix_cache": bool(cache.enable_prefix_caching),
        "speculative_method": None,
    }
    if cache.kv_cache_memory_bytes is not None:
        effective["kv_cache_gib"] = cache.kv_cache_memory_bytes / BYTES_PER_GIB
    if (speculative := told.speculative_config) is not None:
        effective |= {"speculative_method": str(speculative.method), "speculative_tokens": speculative.num_speculative_tokens}
        if config.speculative_model is not None:
            effective["speculative_model"] = str(speculative.model)
        if speculative.method == "ngram":
            effective |= {"ngram_max_tokens": speculative.prompt_lookup_max, "ngram_min_tokens": speculative.prompt_lookup_min}
    if told.device_config.device_type == "cpu":
        import torch

        effective["threads"] = torch.get_num_threads()
    if told.lora_config is not None:
        effective |= {"lora": config.lora, "lora_max_rank": told.lora_config.max_lora_rank}
    return effective


def _model(source: ModelSource, model: Any) -> dict[str, Any]:
    text = model.hf_text_config
    return {
        "name": source.label,
        "revision": getattr(model.hf_config, "_commit_hash", None) or source.revision,
        "architecture": model.architecture,
        "layers": getattr(text, "num_hidden_layers", None),
        "heads": getattr(text, "num_attention_heads", None),
        "context_tokens": model.max_model_len,
    }


def _dtype(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _name(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "name", value))
