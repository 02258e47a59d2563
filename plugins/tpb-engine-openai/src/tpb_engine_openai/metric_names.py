"""What inference servers call their metrics: one table from names to channels.

Counters of tokens run on while requests go on in vLLM and SGLang. llama-server and TGI count the tokens of a request when it ends.
"""

from __future__ import annotations

from typing import NamedTuple


class Metric(NamedTuple):
    """A channel of the meter and the first of these names that a server has. Values of all label sets are added."""

    channel: str
    kind: str
    unit: str
    names: tuple[str, ...]


METRICS = (
    Metric("output_tokens", "counter", "tokens", (
        "vllm:generation_tokens_total", "vllm:generation_tokens", "sglang:generation_tokens_total", "trtllm_generation_tokens_total",
        "trtllm:generation_tokens_total", "generation_tokens_total", "llamacpp:tokens_predicted_total",
        "tgi_request_generated_tokens_sum")),
    Metric("input_tokens", "counter", "tokens", (
        "vllm:prompt_tokens_total", "vllm:prompt_tokens", "sglang:prompt_tokens_total", "trtllm_prompt_tokens_total",
        "trtllm:prompt_tokens_total", "prompt_tokens_total", "llamacpp:prompt_tokens_total", "tgi_request_input_length_sum")),
    Metric("finished_requests", "counter", "requests", (
        "vllm:request_success_total", "vllm:request_success", "sglang:num_requests_total", "trtllm_request_success_total",
        "trtllm:request_success_total", "request_success_total", "tgi_request_success")),
    Metric("preemptions", "counter", "requests", (
        "vllm:num_preemptions_total", "vllm:num_preemptions", "sglang:num_retracted_requests_total")),
    Metric("running_requests", "gauge", "requests", (
        "vllm:num_requests_running", "sglang:num_running_reqs", "trtllm_num_requests_running", "llamacpp:requests_processing",
        "tgi_batch_current_size")),
    Metric("waiting_requests", "gauge", "requests", (
        "vllm:num_requests_waiting", "sglang:num_queue_reqs", "trtllm_num_requests_waiting", "llamacpp:requests_deferred",
        "tgi_queue_size")),
    Metric("kv_usage", "gauge", "1", (
        "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage", "trtllm_kv_cache_utilization",
        "trtllm:kv_cache_utilization", "kv_cache_utilization", "llamacpp:kv_cache_usage_ratio")),
)  # fmt: skip
NAMES = frozenset(name for metric in METRICS for name in metric.names)
PATHS = ("/metrics", "/prometheus/metrics")
"""Where they are. TensorRT-LLM has JSON at the first, which is emptied by reading, and the text at the second."""


def channel_values(samples: dict[str, float]) -> dict[str, float]:
    """Values by channel. A share of several engines' KV caches that are added cannot be told; over 1 it is left out."""
    values = {}
    for metric in METRICS:
        name = next((name for name in metric.names if name in samples), None)
        if name is not None and samples[name] >= 0 and not (metric.channel == "kv_usage" and samples[name] > 1):
            values[metric.channel] = samples[name]
    return values
