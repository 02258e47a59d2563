"""Stand-in for tensorrt_llm.llmapi.llm_args, release 1.x: argument classes that forbid what they do not know."""

from typing import Any, ClassVar


class StrictBaseModel:
    """As pydantic with extra="forbid": unknown names are a ValueError that lists them."""

    model_fields: ClassVar[dict[str, Any]] = {}
    defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        cls.model_fields = {**cls.model_fields, **cls.defaults}

    def __init__(self, **given: Any) -> None:
        foreign = [name for name in given if name not in self.model_fields]
        if foreign:
            lines = "".join(f"\n{name}\n  Extra inputs are not permitted" for name in foreign)
            raise ValueError(f"{len(foreign)} validation error(s) for {type(self).__name__}{lines}")
        for name, default in self.model_fields.items():
            setattr(self, name, given.get(name, default() if isinstance(default, type) else default))


class KvCacheConfig(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {
        "enable_block_reuse": True, "max_tokens": None, "max_attention_window": None, "sink_token_length": None,
        "free_gpu_memory_fraction": 0.9, "host_cache_size": None, "onboard_blocks": True, "event_buffer_max_size": 0,
        "enable_partial_reuse": True, "copy_on_partial_reuse": True, "max_gpu_total_bytes": 0, "dtype": "auto", "tokens_per_block": 32,
    }  # fmt: skip

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        if not 0 <= self.free_gpu_memory_fraction <= 1:
            raise ValueError("kv_cache_config.free_gpu_memory_fraction must be a float between 0 and 1")


class CudaGraphConfig(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {"batch_sizes": None, "max_batch_size": 0, "enable_padding": False}


class QuantConfig(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {"quant_algo": None, "kv_cache_quant_algo": None, "group_size": 128}


class SchedulerConfig(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {"capacity_scheduler_policy": "GUARANTEED_NO_EVICT", "context_chunking_policy": None}


class DraftTargetDecodingConfig(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {"max_draft_len": None, "speculative_model_dir": None}


class EagleDecodingConfig(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {"max_draft_len": None, "speculative_model_dir": None, "eagle3_one_model": True}


class MTPDecodingConfig(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {"num_nextn_predict_layers": 1, "use_relaxed_acceptance_for_thinking": False}


class NGramDecodingConfig(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {"max_draft_len": None, "max_matching_ngram_size": 0, "is_keep_all": True, "is_use_oldest": True}


class BaseLlmArgs(StrictBaseModel):
    defaults: ClassVar[dict[str, Any]] = {
        "model": None, "tokenizer": None, "tokenizer_mode": "auto", "skip_tokenizer_init": False, "trust_remote_code": False,
        "tensor_parallel_size": 1, "dtype": "auto", "revision": None, "tokenizer_revision": None, "pipeline_parallel_size": 1,
        "context_parallel_size": 1, "gpus_per_node": None, "moe_cluster_parallel_size": None, "moe_tensor_parallel_size": None,
        "moe_expert_parallel_size": None, "enable_attention_dp": False, "cp_config": None, "enable_lora": False, "lora_config": None,
        "kv_cache_config": KvCacheConfig, "enable_chunked_prefill": False, "guided_decoding_backend": None,
        "batched_logits_processor": None, "iter_stats_max_iterations": None, "request_stats_max_iterations": None,
        "peft_cache_config": None, "scheduler_config": SchedulerConfig, "cache_transceiver_config": None, "speculative_config": None,
        "max_batch_size": None, "max_input_len": 1024, "max_seq_len": None, "max_beam_width": 1, "max_num_tokens": 8192,
        "gather_generation_logits": False, "num_postprocess_workers": 0, "postprocess_tokenizer_dir": None, "backend": None,
        "return_perf_metrics": False, "perf_metrics_max_requests": 0, "load_format": "auto",
    }  # fmt: skip


class TorchLlmArgs(BaseLlmArgs):
    defaults: ClassVar[dict[str, Any]] = {
        "garbage_collection_gen0_threshold": 20000, "cuda_graph_config": CudaGraphConfig, "disable_overlap_scheduler": False,
        "moe_config": None, "attn_backend": "TRTLLM", "sampler_type": "auto", "enable_iter_perf_stats": False,
        "enable_iter_req_stats": False, "print_iter_log": False, "torch_compile_config": None, "enable_autotuner": True,
        "stream_interval": 1, "orchestrator_type": None,
    }  # fmt: skip


class TrtLlmArgs(BaseLlmArgs):
    defaults: ClassVar[dict[str, Any]] = {
        "quant_config": None, "build_config": None, "calib_config": None, "fast_build": False, "enable_build_cache": False,
    }  # fmt: skip
