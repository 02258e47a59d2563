"""Stand-in for tensorrt_llm.llmapi."""

from tensorrt_llm.llmapi.llm_args import (
    CudaGraphConfig,
    DraftTargetDecodingConfig,
    EagleDecodingConfig,
    KvCacheConfig,
    MTPDecodingConfig,
    NGramDecodingConfig,
    QuantConfig,
    SchedulerConfig,
    TorchLlmArgs,
    TrtLlmArgs,
)

__all__ = [
    "CudaGraphConfig",
    "DraftTargetDecodingConfig",
    "EagleDecodingConfig",
    "KvCacheConfig",
    "MTPDecodingConfig",
    "NGramDecodingConfig",
    "QuantConfig",
    "SchedulerConfig",
    "TorchLlmArgs",
    "TrtLlmArgs",
]
