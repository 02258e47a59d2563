"""Options of the engine, and the part of them that engines which load their model through Transformers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpb_core.api import EngineConfig, option


@dataclass
class ModelOptions(EngineConfig):
    """What to load, and how: shared with engines that wrap a Transformers model."""

    model: str | None = option(None, help="folder of a Transformers model, a .gguf file, or a name on the Hugging Face hub")
    revision: str | None = option(None, help="branch, tag or commit on the hub (default: the newest)")
    tokenizer: str | None = option(None, help="folder or hub name of the tokenizer (default: the model's own)")
    gguf_file: str | None = option(None, help="GGUF file inside the model folder or repository; its weights are dequantised")
    dtype: str = option(
        "auto", help="type of weights and activations; auto is the checkpoint's", choices=("auto", "float32", "bfloat16", "float16")
    )
    attention: str = option(
        "auto",
        help="attention implementation; auto is what Transformers chooses for this machine",
        choices=("auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"),
    )
    trust_remote_code: bool = option(False, help="run Python code that comes with the model")
    threads: int | None = option(None, help="CPU threads of torch (default: what torch chooses)", unit="threads")
    prefill_chunk_tokens: int | None = option(None, help="longest piece of a prompt computed at once in static batches", unit="tokens")


@dataclass
class HfConfig(ModelOptions):
    """Options of the Transformers engine."""

    name: str = option("hf", help="entry-point name of the engine")
    device: str = option("auto", help="torch device (cpu, cuda, cuda:1, mps); auto is the first accelerator, else the CPU")
    device_map: str | None = option(
        None, help="spread the layers over all devices", choices=("auto", "balanced", "balanced_low_0", "sequential")
    )
    quantization: str = option(
        "none", help="quantisation method while loading, as Transformers names it (bitsandbytes, torchao, hqq, quanto, fp8, ...)"
    )
    quantization_options: dict[str, Any] = option({}, help="arguments of that method's configuration, for example load_in_4bit: true")
    compile: bool = option(False, help="compile the model's forward pass with torch.compile; its first calls are the window `compile`")
    compile_mode: str = option(
        "default", help="mode of torch.compile", choices=("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
    )
    cache: str = option(
        "dynamic",
        help="KV cache of static batches",
        choices=("dynamic", "static", "offloaded", "offloaded_static"),
    )
    assistant_model: str | None = option(None, help="draft model for assisted decoding (one request at a time)")
    assistant_tokens: int = option(5, help="tokens that the draft model proposes at a time", unit="tokens")
    prompt_lookup_tokens: int | None = option(None, help="draft this many tokens by n-gram look-up in the prompt instead", unit="tokens")
    kv_page_tokens: int = option(
        256, help="continuous batching: tokens of a KV-cache page; prefixes are shared by whole pages", unit="tokens"
    )
    kv_pages: int | None = option(
        None, help="continuous batching: pages of KV cache (default: enough for the load; all free memory on an accelerator)"
    )
    max_batch_tokens: int | None = option(
        None, help="continuous batching: most tokens in one iteration (default: 1024 on CPU, Transformers' own elsewhere)", unit="tokens"
    )
    scheduler: str = option("fifo", help="continuous batching: which requests go first", choices=("fifo", "prefill_first"))
    cuda_graphs: bool | None = option(None, help="continuous batching: CUDA graphs (default: Transformers decides)")
    async_batching: bool | None = option(
        None, help="continuous batching: prepare an iteration while the last one computes (default: Transformers decides)"
    )
