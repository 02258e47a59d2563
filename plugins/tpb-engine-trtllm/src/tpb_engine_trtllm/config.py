"""Options of the two engines. What tunes TensorRT-LLM itself is the same in both and named as everywhere in tpb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpb_core.api import EngineConfig, option
from tpb_engine_openai.config import OpenAiConfig

SPECULATIVE = ("none", "draft_target", "eagle", "mtp", "ngram")


@dataclass
class TuningOptions(EngineConfig):
    """What TensorRT-LLM is told about model and machine. An option that is left out keeps TensorRT-LLM's own default."""

    model: str | None = option(None, help="folder or hub name of a Hugging Face checkpoint, or a folder of built engine files")
    backend: str = option(
        "auto", help="back end: auto is tensorrt for built engine files and pytorch for the rest", choices=("auto", "pytorch", "tensorrt")
    )
    revision: str | None = option(None, help="branch, tag or commit on the hub")
    tokenizer: str | None = option(None, help="folder or hub name of the tokenizer; built engine files mostly need one")
    trust_remote_code: bool = option(False, help="run Python code that comes with the model")
    dtype: str | None = option(None, help="type of weights and activations: auto, float16, bfloat16, float32")
    quantization: str | None = option(None, help="quantisation algorithm as TensorRT-LLM names it (FP8, NVFP4, W4A16_AWQ, ...)")
    kv_cache_dtype: str | None = option(None, help="type of the KV cache: auto, fp8, nvfp4")
    tensor_parallel: int | None = option(None, help="GPUs that share each layer", minimum=1)
    pipeline_parallel: int | None = option(None, help="groups of layers on GPUs of their own", minimum=1)
    expert_parallel: int | None = option(None, help="GPUs that share the experts of a mixture-of-experts model", minimum=1)
    attention_dp: bool | None = option(None, help="attention as data parallelism over the tensor-parallel GPUs")
    max_batch_size: int | None = option(None, help="most requests in one iteration", minimum=1)
    max_num_tokens: int | None = option(None, help="most tokens in one iteration", unit="tokens", minimum=1)
    max_seq_len: int | None = option(None, help="longest input plus output, in tokens; default: the model's", minimum=1)
    chunked_prefill: bool | None = option(None, help="split long prompts over several iterations")
    cuda_graphs: bool | None = option(None, help="CUDA graphs (PyTorch back end)")
    overlap_scheduler: bool | None = option(None, help="prepare an iteration while the last one computes (PyTorch back end)")
    attention_backend: str | None = option(None, help="attention implementation (PyTorch back end): TRTLLM, FLASHINFER, VANILLA")
    free_gpu_memory_fraction: float | None = option(None, help="share of the free GPU memory that the KV cache gets", minimum=0)
    speculative: str = option("none", help="speculative decoding", choices=SPECULATIVE)
    speculative_model: str | None = option(None, help="draft model (draft_target, eagle)")
    speculative_tokens: int | None = option(None, help="tokens drafted at a time", unit="tokens", minimum=1)
    sampler: str | None = option(
        None, help="sampler (PyTorch back end): TRTLLMSampler honours seeds, so tokens can be drawn; TorchSampler; auto"
    )
    step_log: bool = option(True, help="have TensorRT-LLM keep statistics of each iteration, as step log")
    request_metrics: bool = option(True, help="have TensorRT-LLM time each request: queued, scheduled, first token")
    llm_args: dict[str, Any] = option({}, help="further arguments of LLM(...), by their own names; they win over ours and are recorded")


@dataclass
class TrtllmConfig(TuningOptions):
    """Options of `engine=trtllm`."""

    name: str = option("trtllm", help="entry-point name of the engine")
    request_timeout_s: float = option(600.0, help="a request that takes longer is given up", unit="s", minimum=0)


@dataclass
class TrtllmServeConfig(TuningOptions, OpenAiConfig):
    """Options of `engine=trtllm_serve`: those of a server that tpb starts (or `url` of a running one), and how it is reached."""

    name: str = option("trtllm_serve", help="entry-point name of the engine")
    model: str | None = option(None, help="what trtllm-serve is to serve; with engine.url: the model's name as the server knows it")
    tokenizer: str | None = option(
        None, help="path of a tokenizer.json for token ids (needs the package tokenizers), or none; default: prompts go as text"
    )
    program: str = option("trtllm-serve", help="program that starts the server; words in front of it are allowed (mpirun -n 1 ...)")
    server: str = option("trtllm", help="kind of server", choices=("trtllm",))
