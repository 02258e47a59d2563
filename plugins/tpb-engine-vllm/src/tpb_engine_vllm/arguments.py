"""From options to vLLM's own engine arguments: by name for Python, as words for its server. Plain Python, vLLM is not imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tpb_core.api import BadInput
from tpb_engine_vllm.config import TuningOptions

RENAMED = {
    "revision": "revision",
    "tokenizer": "tokenizer",
    "kv_cache_dtype": "kv_cache_dtype",
    "tensor_parallel": "tensor_parallel_size",
    "pipeline_parallel": "pipeline_parallel_size",
    "data_parallel": "data_parallel_size",
    "expert_parallel": "enable_expert_parallel",
    "max_num_seqs": "max_num_seqs",
    "max_num_batched_tokens": "max_num_batched_tokens",
    "max_model_len": "max_model_len",
    "chunked_prefill": "enable_chunked_prefill",
    "async_scheduling": "async_scheduling",
    "enforce_eager": "enforce_eager",
    "gpu_memory_utilization": "gpu_memory_utilization",
    "trust_remote_code": "trust_remote_code",
    "dtype": "dtype",
    "quantization": "quantization",
    "lora_max_rank": "max_lora_rank",
}
"""Option -> engine argument, where the value is the same."""

OURS = {
    "model", "enable_prefix_caching", "disable_log_stats", "kv_cache_memory_bytes", "speculative_config", "enable_lora", "lora_modules",
    "served_model_name", "host", "port",
}  # fmt: skip
"""Arguments that options of ours decide, so that they cannot be given in engine.args."""

LORA_NAME = "adapter"
"""What the adapter of engine.lora is called."""
BYTES_PER_GIB = 2**30


def engine_arguments(config: TuningOptions, model: str, kv_cache_bytes: int | None = None) -> dict[str, Any]:
    """Keyword arguments of `vllm.EngineArgs`; what was left to vLLM is not among them. Raises `BadInput`.

    `kv_cache_bytes` is the size of the KV cache where no option says anything about it; None leaves that to vLLM too.
    """
    asked = config.requested()
    arguments: dict[str, Any] = {"model": model, "enable_prefix_caching": config.prefix_cache}
    arguments |= {theirs: asked[ours] for ours, theirs in RENAMED.items() if ours in asked}
    if config.kv_cache_gib is not None:
        arguments["kv_cache_memory_bytes"] = round(config.kv_cache_gib * BYTES_PER_GIB)
    elif kv_cache_bytes is not None and config.gpu_memory_utilization is None:
        arguments["kv_cache_memory_bytes"] = kv_cache_bytes
    if speculative := speculative_config(config):
        arguments["speculative_config"] = speculative
    if config.lora:
        arguments["enable_lora"] = True
    elif config.lora_max_rank:
        raise BadInput("engine.lora_max_rank is set, but no adapter is named.", "Add engine.lora=FOLDER, or leave it out.")
    for name in config.args:
        if name in OURS or name in RENAMED.values():
            ours = next((key for key, theirs in RENAMED.items() if theirs == name), None)
            raise BadInput(
                f"engine.args holds {name}, which an option of this engine decides.",
                f"Type engine.{ours}=..." if ours else "Leave it out of engine.args; `tpb +engine=vllm --help` lists the options.",
            )
    return {**arguments, **config.args}


def speculative_config(config: TuningOptions) -> dict[str, Any]:
    """vLLM's `speculative_config`; empty without speculative decoding. Raises `BadInput` for a half-told one."""
    method, draft = config.speculative_method, config.speculative_model
    looks_up = {"prompt_lookup_max": config.ngram_max_tokens, "prompt_lookup_min": config.ngram_min_tokens}
    looks_up = {name: value for name, value in looks_up.items() if value is not None}
    if method is None and draft is not None:
        method = "draft_model"
    if looks_up and method != "ngram":
        raise BadInput("engine.ngram_*_tokens belong to n-gram look-up.", "Add engine.speculative_method=ngram, or leave them out.")
    if method is None:
        return {}
    if method == "ngram" and draft is not None:
        raise BadInput(
            "N-gram look-up has no draft model.", "Leave out engine.speculative_model, or type engine.speculative_method=draft_model."
        )
    if method == "draft_model" and draft is None:
        raise BadInput("A draft model is asked for and not named.", "Add engine.speculative_model=FOLDER.")
    told: dict[str, Any] = {"method": method, "num_speculative_tokens": config.speculative_tokens, **looks_up}
    return {**told, **({"model": draft} if draft is not None else {})}


def environment(config: TuningOptions) -> dict[str, str]:
    """Environment variables that vLLM reads: telemetry off, and what it takes in no other way."""
    named = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if config.threads is not None:
        named |= {"OMP_NUM_THREADS": str(config.threads), "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return named


def server_words(arguments: Mapping[str, Any]) -> list[str]:
    """The same arguments as words for `python -m vllm.entrypoints.openai.api_server`."""
    words: list[str] = []
    for name, value in arguments.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, Mapping):
            words += [flag, json.dumps(dict(value))]
        elif isinstance(value, (list, tuple)):
            words += [flag, *map(str, value)]
        elif value is not None:
            words += [flag, str(value)]
    return words
