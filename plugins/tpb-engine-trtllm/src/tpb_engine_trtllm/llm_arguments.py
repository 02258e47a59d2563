"""Options in TensorRT-LLM's words: the arguments of `LLM(...)`, which are also the YAML of `trtllm-serve`, and back again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from tpb_core.api import BadInput
from tpb_engine_trtllm.config import TuningOptions

STATS_ITERATIONS = 200_000
"""Iterations whose statistics are kept until they are read; TensorRT-LLM's own 1,000 are gone within seconds."""
STATS_REQUESTS = 100_000

_SAME = {
    "revision": "revision",
    "trust_remote_code": "trust_remote_code",
    "dtype": "dtype",
    "tensor_parallel": "tensor_parallel_size",
    "pipeline_parallel": "pipeline_parallel_size",
    "expert_parallel": "moe_expert_parallel_size",
    "attention_dp": "enable_attention_dp",
    "max_batch_size": "max_batch_size",
    "max_num_tokens": "max_num_tokens",
    "max_seq_len": "max_seq_len",
    "chunked_prefill": "enable_chunked_prefill",
    "attention_backend": "attn_backend",
    "sampler": "sampler_type",
}
"""Option -> argument with the same meaning and type."""
_METHODS = {
    "draft_target": ("DraftTargetDecodingConfig", "Draft_Target"),
    "eagle": ("EagleDecodingConfig", "Eagle"),
    "mtp": ("MTPDecodingConfig", "MTP"),
    "ngram": ("NGramDecodingConfig", "NGram"),
}
"""Speculative method -> class of the LLM API, `decoding_type` in a YAML file."""
_WISHES = frozenset({"enable_iter_perf_stats", "enable_iter_req_stats", "iter_stats_max_iterations", "return_perf_metrics"})
"""What we ask for so that more is known; a release that has none of it runs all the same."""


def needs_request_statistics(config: TuningOptions, backend: str) -> bool:
    """Whether an iteration's output tokens can be told only from the statistics of each request.

    Without chunks and drafts, and with a scheduler that knows each end before it goes on, every request in an iteration gives one.
    """
    overlap = backend == "pytorch" and config.overlap_scheduler is not False
    return config.step_log and (overlap or bool(config.chunked_prefill) or config.speculative != "none")


def plain_arguments(config: TuningOptions, backend: str) -> dict[str, Any]:
    """Keyword arguments of `LLM(...)` without the model, nested ones as dicts. Raises BadInput for options that exclude each other."""
    given = {argument: getattr(config, name) for name, argument in _SAME.items()}
    arguments = {argument: value for argument, value in given.items() if value is not None}
    cache: dict[str, Any] = {"enable_block_reuse": config.prefix_cache, "enable_partial_reuse": config.prefix_cache}
    if config.kv_cache_dtype is not None:
        cache["dtype"] = config.kv_cache_dtype
    if config.free_gpu_memory_fraction is not None:
        cache["free_gpu_memory_fraction"] = config.free_gpu_memory_fraction
    arguments["kv_cache_config"] = cache
    if config.cuda_graphs is not None:
        arguments["cuda_graph_config"] = {} if config.cuda_graphs else None
    if config.overlap_scheduler is not None:
        arguments["disable_overlap_scheduler"] = not config.overlap_scheduler
    if config.quantization is not None:
        arguments["quant_config"] = {"quant_algo": config.quantization}
    if (drafts := _speculative(config)) is not None:
        arguments["speculative_config"] = drafts
    if config.step_log:
        arguments["enable_iter_perf_stats"] = True
        arguments["iter_stats_max_iterations"] = STATS_ITERATIONS
        if needs_request_statistics(config, backend):
            arguments["enable_iter_req_stats"] = True
    if config.request_metrics:
        arguments["return_perf_metrics"] = True
    further = {key: value for key, value in config.llm_args.items() if key != "kv_cache_config"}
    cache |= config.llm_args.get("kv_cache_config") or {}
    return {**arguments, **further}


def _speculative(config: TuningOptions) -> dict[str, Any] | None:
    method = config.speculative
    if method == "none":
        if config.speculative_model is not None or config.speculative_tokens is not None:
            raise BadInput(
                "engine.speculative_model and engine.speculative_tokens need a method", "Type for example engine.speculative=draft_target"
            )
        return None
    if method in ("draft_target", "eagle") and config.speculative_model is None:
        raise BadInput(f"engine.speculative={method} needs a draft model", "Type engine.speculative_model=FOLDER")
    length = "num_nextn_predict_layers" if method == "mtp" else "max_draft_len"
    drafts: dict[str, Any] = {"decoding_type": _METHODS[method][1], length: config.speculative_tokens or (1 if method == "mtp" else 4)}
    if config.speculative_model is not None:
        drafts["speculative_model_dir"] = config.speculative_model
    return drafts


def fitting(arguments: dict[str, Any], accepted: Collection[str] | None, *, backend: str) -> dict[str, Any]:
    """The arguments that this release takes. What we only wish for is left out; what the user asked for is BadInput."""
    if accepted is None:
        return arguments
    foreign = {name for name in arguments if name not in accepted and name not in _WISHES}
    if "quant_config" in foreign and backend == "pytorch":
        raise BadInput(
            "engine.quantization: the PyTorch back end of this release takes the quantisation from the checkpoint",
            "Give a quantised checkpoint (one with hf_quant_config.json) and leave engine.quantization out.",
        )
    if foreign:
        options = {argument: f"engine.{name}" for name, argument in _SAME.items()}
        options |= {"disable_overlap_scheduler": "engine.overlap_scheduler", "cuda_graph_config": "engine.cuda_graphs",
                    "speculative_config": "engine.speculative"}  # fmt: skip
        names = ", ".join(sorted(options.get(name, f"engine.llm_args.{name}") for name in foreign))
        raise BadInput(f"the {backend} back end of this release of TensorRT-LLM has no {names}", "Leave it out.")
    return {name: value for name, value in arguments.items() if name in accepted}


def constructed(arguments: dict[str, Any], llmapi: Any, config: TuningOptions) -> dict[str, Any]:
    """Nested dicts as objects of the library's classes (`tensorrt_llm.llmapi`), so that it checks each field. Raises ValueError."""
    made = dict(arguments)
    classes = {"kv_cache_config": "KvCacheConfig", "cuda_graph_config": "CudaGraphConfig", "quant_config": "QuantConfig"}
    for argument, name in classes.items():
        if isinstance(made.get(argument), dict):
            made[argument] = getattr(llmapi, name)(**made[argument])
    drafts = made.get("speculative_config")
    if isinstance(drafts, dict) and config.speculative != "none" and "speculative_config" not in config.llm_args:
        made["speculative_config"] = _drafting(getattr(llmapi, _METHODS[config.speculative][0]), drafts)
    return made


def _drafting(config_class: Callable[..., Any], drafts: dict[str, Any]) -> Any:
    fields = getattr(config_class, "model_fields", {})
    renamed = {"speculative_model_dir": "speculative_model"} if "speculative_model" in fields else {}
    return config_class(**{renamed.get(name, name): value for name, value in drafts.items() if name != "decoding_type"})


def effective_options(arguments: Any, config: TuningOptions) -> dict[str, Any]:
    """Options as `llm.args` has them after loading, under our names. What the release does not tell is absent."""
    found = {name: _plain(getattr(arguments, argument)) for name, argument in _SAME.items() if hasattr(arguments, argument)}
    cache = getattr(arguments, "kv_cache_config", None)
    if cache is not None:
        found["kv_cache_dtype"] = _plain(getattr(cache, "dtype", None))
        found["free_gpu_memory_fraction"] = getattr(cache, "free_gpu_memory_fraction", None)
        found["prefix_cache"] = bool(getattr(cache, "enable_block_reuse", None))
    if hasattr(arguments, "disable_overlap_scheduler"):
        found["overlap_scheduler"] = not arguments.disable_overlap_scheduler
    if hasattr(arguments, "cuda_graph_config"):
        found["cuda_graphs"] = arguments.cuda_graph_config is not None
    algorithm = quantization(arguments)
    if algorithm is not None or config.quantization is not None:
        found["quantization"] = algorithm
    if hasattr(arguments, "speculative_config"):
        found["speculative"] = config.speculative if arguments.speculative_config is not None else "none"
    return {name: value for name, value in found.items() if value is not None}


def quantization(arguments: Any) -> str | None:
    """The quantisation algorithm in effect, None where there is none or it is not told."""
    algorithm = getattr(getattr(arguments, "quant_config", None), "quant_algo", None)
    return None if algorithm is None else str(_plain(algorithm))


def _plain(value: Any) -> Any:
    """An enumeration's value, a class's or path's text; plain values as they are."""
    value = getattr(value, "value", value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
