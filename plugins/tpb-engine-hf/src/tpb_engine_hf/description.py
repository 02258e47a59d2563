"""What was loaded, read back from the model: the manifest's `engine` entry."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from tpb_engine_hf.config import ModelOptions
from tpb_engine_hf.source import ModelSource

NOT_REQUESTS = {"name", "python", "model", "prefix_cache", "start_timeout_s"}
UNSET: tuple[Any, ...] = (None, "auto", "none", {}, [])


def requested_options(config: ModelOptions) -> dict[str, Any]:
    """The options that ask for something in particular; those left to the engine are absent."""
    values = {one.name: getattr(config, one.name) for one in fields(config) if one.name not in NOT_REQUESTS}
    return {name: value for name, value in values.items() if value not in UNSET}


def model_facts(model: Any, source: ModelSource) -> dict[str, Any]:
    """`name`, `revision`, parameters, layers, heads, context; None where the configuration does not say."""
    text = model.config.get_text_config()
    experts = getattr(text, "num_local_experts", None) or getattr(text, "num_experts", None)
    total = int(model.num_parameters())
    return {
        "name": source.label,
        "revision": getattr(model.config, "_commit_hash", None) or source.revision,
        "architecture": type(model).__name__,
        "total_parameters": total,
        "active_parameters": None if experts else total,
        "layers": getattr(text, "num_hidden_layers", None),
        "heads": getattr(text, "num_attention_heads", None),
        "context_tokens": context_tokens(model),
    }


def context_tokens(model: Any) -> int | None:
    """Longest input plus output that the model was made for, in tokens."""
    value = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(value) if value else None


def dtype_name(model: Any) -> str:
    """The dtype of the weights as the options spell it."""
    return str(model.dtype).removeprefix("torch.")


def quantization_name(model: Any, source: ModelSource) -> str | None:
    """The quantisation method in effect. Weights from a GGUF file are dequantised while loading, so they have none."""
    if source.gguf_file:
        return None
    chosen = getattr(model.config, "quantization_config", None)
    method = chosen.get("quant_method") if isinstance(chosen, dict) else getattr(chosen, "quant_method", None)
    return None if method is None else str(getattr(method, "value", method))


def effective_options(model: Any, config: ModelOptions) -> dict[str, Any]:
    """Options as they are in the loaded model, under the names that they were asked by."""
    import torch

    return {
        "dtype": dtype_name(model),
        "attention": str(getattr(model.config, "_attn_implementation", None)),
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "trust_remote_code": config.trust_remote_code,
        **({"prefill_chunk_tokens": config.prefill_chunk_tokens} if config.prefill_chunk_tokens else {}),
    }


def device_name(model: Any, asked: str) -> str:
    """The device of the model, spelt as it was asked for where that is the same one: `cuda` for `cuda:0`."""
    import torch

    device = torch.device(model.device)
    if asked != "auto" and torch.device(asked).type == device.type and device.index in (None, 0) and torch.device(asked).index is None:
        return asked
    return str(device)


def devices_in_use(model: Any) -> list[str]:
    """Torch devices that hold weights, in order, for example `["cuda:0", "cuda:1"]`."""
    return sorted({str(parameter.device) for parameter in model.parameters()})


def transformers_version() -> str:
    """Version of transformers."""
    import transformers

    return str(transformers.__version__)
