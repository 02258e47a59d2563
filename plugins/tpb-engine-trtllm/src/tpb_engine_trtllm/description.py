"""What was loaded, read back from the LLM object: the manifest's `engine` entry."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tpb_core.api import EngineDescription
from tpb_engine_trtllm.config import TrtllmConfig, TuningOptions
from tpb_engine_trtllm.llm_arguments import effective_options, quantization
from tpb_engine_trtllm.tokens import LlmTokenizer

_NOT_REQUESTS = {"name", "python", "model", "prefix_cache", "start_timeout_s", "request_timeout_s", "step_log", "request_metrics"}
_UNSET: tuple[Any, ...] = (None, "auto", "none", {}, [])


def requested_options(config: TuningOptions) -> dict[str, Any]:
    """The tuning options that ask for something in particular; those left to TensorRT-LLM are absent."""
    names = [one.name for one in fields(TuningOptions) if one.name not in _NOT_REQUESTS]
    values = {name: getattr(config, name) for name in names}
    return {name: value for name, value in values.items() if value not in _UNSET and not (name == "trust_remote_code" and not value)}


def describe(
    config: TrtllmConfig,
    llm: Any,
    backend: str,
    version: str,
    tokenizer: LlmTokenizer,
    *,
    node: str,
    step_log: str | None,
    clock: str | None,
) -> EngineDescription:
    """`step_log` and `clock` say why there is no step log and no timing of requests; None where there is."""
    arguments = llm.args
    effective = {"backend": backend, **effective_options(arguments, config)}
    if config.llm_args:
        effective["llm_args"] = config.llm_args
    ranks = effective.get("tensor_parallel", 1) if effective.get("attention_dp") else 1
    return EngineDescription(
        name=config.name,
        version=version,
        model={"name": config.model, "revision": config.revision, "context_tokens": context_tokens(llm)},
        dtype=str(effective["dtype"]) if effective.get("dtype") not in (None, "auto") else None,
        quantization=quantization(arguments),
        tokenizer=tokenizer.describe(),
        requested=requested_options(config),
        effective=effective,
        prefix_cache=bool(effective.get("prefix_cache", config.prefix_cache)),
        instances=[
            {"instance": str(rank), "role": "mixed", "node": node, "devices": [], **({"dp_rank": rank} if ranks > 1 else {})}
            for rank in range(int(ranks))
        ],
        step_log={
            "available": step_log is None,
            "members": False,
            "reason": step_log or "TensorRT-LLM's iteration statistics name requests by ids of its own, so members of steps are not known",
        },
        extensions={"x_trtllm": {"backend": backend, "request_times": clock or "on the run clock"}},
    )


def context_tokens(llm: Any) -> int | None:
    """Longest input plus output, in tokens, where the arguments say."""
    value = getattr(llm.args, "max_seq_len", None)
    return value if isinstance(value, int) and value > 0 else None


def capacity_never_evicts(arguments: Any) -> bool:
    """Whether the scheduler never pauses a request that it began (its default policy), so that nothing is preempted."""
    policy = getattr(getattr(arguments, "scheduler_config", None), "capacity_scheduler_policy", None)
    return str(getattr(policy, "name", policy)).upper().rpartition(".")[2] in ("GUARANTEED_NO_EVICT", "STATIC_BATCH")
