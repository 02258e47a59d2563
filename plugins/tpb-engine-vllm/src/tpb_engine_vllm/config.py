"""The options of both engines: what people tune in vLLM, under vLLM's own names, and how a served one is reached."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tpb_core.api import EngineConfig, option

NOT_REQUESTS = {"name", "python", "model", "prefix_cache", "start_timeout_s", "host", "port", "request_timeout_s", "connect_timeout_s"}
"""Options that say which model runs and how it is reached, not how it runs."""


@dataclass
class TuningOptions(EngineConfig):
    """What both engines have. An option that is not given is left to vLLM."""

    model: str | None = option(None, help="folder of a Transformers model, a .gguf file, or a name on the Hugging Face hub")
    revision: str | None = option(None, help="branch, tag or commit on the hub (default: the newest)")
    tokenizer: str | None = option(None, help="folder or hub name of the tokenizer (default: the model's own)")
    trust_remote_code: bool = option(False, help="run Python code that comes with the model")
    dtype: str = option(
        "auto", help="type of weights and activations; auto is vLLM's choice", choices=("auto", "float32", "bfloat16", "float16")
    )
    quantization: str = option(
        "none", help="quantisation method as vLLM names it (fp8, awq, gptq, bitsandbytes, ...); none: the checkpoint's"
    )
    kv_cache_dtype: str = option("auto", help="type of the KV cache as vLLM names it (auto: the model's; fp8, fp8_e4m3, fp8_e5m2, ...)")
    tensor_parallel: int = option(1, help="devices that share each layer", unit="devices", minimum=1)
    pipeline_parallel: int = option(1, help="stages that the layers are cut into", unit="stages", minimum=1)
    data_parallel: int = option(1, help="replicas of the model (engine=vllm_serve only)", unit="replicas", minimum=1)
    expert_parallel: bool = option(False, help="spread the experts of a mixture over the devices instead of cutting each of them")
    max_num_seqs: int | None = option(None, help="most sequences in one step (default: vLLM decides)", unit="sequences", minimum=1)
    max_num_batched_tokens: int | None = option(None, help="most tokens in one step (default: vLLM decides)", unit="tokens", minimum=1)
    max_model_len: int | None = option(
        None, help="longest input plus output (default: what the model was made for)", unit="tokens", minimum=1
    )
    chunked_prefill: bool | None = option(None, help="compute long prompts in pieces, beside decoding (default: vLLM decides)")
    async_scheduling: bool | None = option(None, help="schedule a step while the one before it computes (default: vLLM decides)")
    enforce_eager: bool = option(False, help="no torch.compile and no CUDA graphs")
    gpu_memory_utilization: float | None = option(
        None, help="share of each GPU's memory for weights, activations and KV cache (default: vLLM decides)", minimum=0
    )
    kv_cache_gib: float | None = option(
        None, help="size of the KV cache on each device, instead of what gpu_memory_utilization leaves", unit="GiB", minimum=0
    )
    threads: int | None = option(
        None, help="CPU only: threads of each worker, not bound to cores (default: vLLM decides)", unit="threads", minimum=1
    )
    speculative_method: str | None = option(
        None, help="speculative decoding: ngram (looks drafts up in the text), draft_model, or another name of vLLM's (eagle3, mtp, ...)"
    )
    speculative_model: str | None = option(None, help="speculative decoding: folder or hub name of the draft model or head")
    speculative_tokens: int = option(4, help="speculative decoding: drafted tokens a step", unit="tokens", minimum=1)
    ngram_max_tokens: int | None = option(
        None, help="ngram: longest piece of text that is looked up (default: vLLM decides)", unit="tokens", minimum=1
    )
    ngram_min_tokens: int | None = option(
        None, help="ngram: shortest piece of text that is looked up (default: vLLM decides)", unit="tokens", minimum=1
    )
    lora: str | None = option(None, help="folder or hub name of a LoRA adapter that all requests use")
    lora_max_rank: int | None = option(None, help="highest rank of the adapter (default: vLLM decides)", minimum=1)
    args: dict[str, Any] = option({}, help="further engine arguments of vLLM by their Python names, for example {block_size: 32}; recorded")

    def requested(self) -> dict[str, Any]:
        """The options that ask for something in particular; those left to vLLM are absent."""
        asked = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in NOT_REQUESTS}
        defaults = type(self)()
        return {name: value for name, value in asked.items() if value != getattr(defaults, name)}


@dataclass
class VllmConfig(TuningOptions):
    """Options of `engine=vllm`."""

    name: str = option("vllm", help="entry-point name of the engine")


@dataclass
class VllmServeConfig(TuningOptions):
    """Options of `engine=vllm_serve`."""

    name: str = option("vllm_serve", help="entry-point name of the engine")
    host: str = option("127.0.0.1", help="where the server listens")
    port: int | None = option(None, help="port of the server; default: a free one", minimum=1)
    api: str = option(
        "completions", help="which API is used: prompts as they are, or messages that the server renders", choices=("completions", "chat")
    )
    token_ids: bool = option(True, help="send prompts as token ids (completions only); else as text")
    request_timeout_s: float = option(600.0, help="a request that takes longer is given up", unit="s", minimum=0)
    connect_timeout_s: float = option(10.0, help="longest time to connect", unit="s", minimum=0)
    extra_body: dict[str, Any] = option({}, help="further fields of every request body; they win over ours and are recorded")


def devices(config: TuningOptions, kind: str | None, rank: int = 0) -> list[str]:
    """Torch devices of a replica, in vLLM's order: those of one replica follow each other. Empty where their kind is not known."""
    if kind is None or kind == "cpu":
        return [kind] if kind else []
    count = config.tensor_parallel * config.pipeline_parallel
    return [f"{kind}:{rank * count + place}" for place in range(count)]
