"""What was loaded and how it really runs, for the manifest."""

from __future__ import annotations

import ctypes
import re
from importlib import metadata
from typing import Any

from tpb_core.api import EngineDescription
from tpb_engine_llamacpp.config import LlamaCppConfig
from tpb_engine_llamacpp.loaded import Loaded
from tpb_engine_llamacpp.native_log import LOG
from tpb_engine_llamacpp.tokens import LlamaTokenizer

# how files are named: Model-7B.Q4_K_M.gguf, model-f16.gguf, model-q8_0-00001-of-00003.gguf
_QUANTIZATION_SUFFIX = re.compile(r"([.-](i?q\d\w*|bf16|f16|f32|mxfp4))?(-\d{5}-of-\d{5})?$", re.IGNORECASE)
_FLOAT_TYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def describe(loaded: Loaded, tokenizer: LlamaTokenizer, config: LlamaCppConfig) -> EngineDescription:
    """The description of an open engine. Counts come from the model, options from the context or from what llama.cpp logged."""
    lib = loaded.lib
    file_type = _file_type(loaded)
    requested = config.changed()
    if "model" in requested:
        requested["model"] = str(loaded.path)
    return EngineDescription(
        name="llamacpp",
        version=metadata.version("llama-cpp-python"),
        model=_model(loaded),
        # llama.cpp computes activations in float32; of quantized weights that is the only float type there is
        dtype=_FLOAT_TYPES.get(file_type, "float32"),
        quantization=None if file_type in _FLOAT_TYPES else file_type,
        tokenizer=tokenizer.describe(),
        requested=requested,
        effective=_effective(loaded, config),
        prefix_cache=config.prefix_cache,
        step_log={"available": True, "members": True, "reason": None},
        extensions={
            "x_llamacpp": {
                "llama_cpp": lib.llama_version().decode() if hasattr(lib, "llama_version") else None,
                "system_info": lib.llama_print_system_info().decode("utf-8", "replace").strip(" |"),
                "devices": LOG.find_all(r"using device (.+?) - \d+ MiB free") or ["CPU"],
                "step_time": "from before the batch is filled in to after the tokens are chosen; llama_synchronize included",
                "sampling_order": ["temperature", "top_k", "top_p"],
            }
        },
    )


def _model(loaded: Loaded) -> dict[str, Any]:
    lib, model = loaded.lib, loaded.model
    architecture = loaded.metadata("general.architecture")
    parameters = lib.llama_model_n_params(model)
    experts = loaded.metadata(f"{architecture}.expert_count")
    return {
        "name": _QUANTIZATION_SUFFIX.sub("", loaded.path.stem),
        "gguf_name": loaded.metadata("general.name"),
        "file": loaded.path.name,
        "weights_bytes": lib.llama_model_size(model),
        "revision": None,
        "architecture": architecture,
        "total_parameters": parameters,
        "active_parameters": None if experts and int(experts) else parameters,
        "layers": lib.llama_model_n_layer(model),
        "heads": lib.llama_model_n_head(model),
        "kv_heads": lib.llama_model_n_head_kv(model),
        "embedding": lib.llama_model_n_embd(model),
        "context_tokens": loaded.trained_context_tokens,
        "licence": loaded.metadata("general.license"),
    }


def _effective(loaded: Loaded, config: LlamaCppConfig) -> dict[str, Any]:
    lib, context = loaded.lib, loaded.context
    flash = LOG.find(r"flash attention\b.*\b(enabled|disabled)") or LOG.find(r"flash_attn\s*=\s*(enabled|disabled)")
    offloaded = LOG.find(r"offloaded (\d+)/\d+ layers")
    return {
        "model": str(loaded.path),
        "context_tokens": loaded.context_tokens,
        "sequences": loaded.sequences,
        "batch_tokens": loaded.batch_tokens,
        "micro_batch_tokens": lib.llama_n_ubatch(context),
        "threads": lib.llama_n_threads(context),
        "threads_batch": lib.llama_n_threads_batch(context),
        "flash_attention": flash.lower() == "enabled" if flash else None,
        "kv_type_k": (LOG.find(r"K \((\w+)\):") or config.kv_type_k).lower(),
        "kv_type_v": (LOG.find(r"V \((\w+)\):") or config.kv_type_v).lower(),
        "kv_unified": True,
        "gpu_layers": int(offloaded) if offloaded else (None if lib.llama_supports_gpu_offload() else 0),
        "mmap": (LOG.find(r"load_mode = (\w+)") or ("mmap" if config.mmap else "none")) == "mmap",
        "prefix_cache": config.prefix_cache,
        "chat_template": config.chat_template,
    }


def _file_type(loaded: Loaded) -> str:
    lib = loaded.lib
    if hasattr(lib, "llama_ftype_name"):
        name = lib.llama_ftype_name(lib.llama_model_ftype(loaded.model))
        if name:
            return str(name.decode()).removeprefix("(guessed) ").removeprefix("all ")
    buffer = ctypes.create_string_buffer(256)
    lib.llama_model_desc(loaded.model, buffer, 256)
    return buffer.value.decode().split()[-1]
