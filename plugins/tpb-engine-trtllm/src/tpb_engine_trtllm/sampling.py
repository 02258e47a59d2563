"""A request's sampling in TensorRT-LLM's words. Everything that decides about the output is said; nothing is left to a default of its own.

Traps: greedy is decided by `top_k` and `top_p` (in some releases whatever the temperature), so both are always given. TorchSampler of
most releases draws all requests' tokens from one generator and passes over `seed`. Stop strings are compared as token sequences, so one
that the model spells with other tokens is missed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tpb_core.api import BadInput, Refused, Request, Sampling
from tpb_engine_trtllm.config import TuningOptions

_DRAWN = frozenset({"temperature", "top_p", "top_k", "n"})


def honoured(config: TuningOptions, backend: str | None) -> frozenset[str]:
    """Of `Sampling.features()`, those honoured exactly: drawn tokens only with a sampler that keeps to each request's seed."""
    seeded = backend == "tensorrt" or config.sampler == "TRTLLMSampler"
    return _DRAWN if seeded else frozenset()


def parameters(sampling: Sampling, fields: Collection[str], *, timed: bool) -> dict[str, Any]:
    """Arguments of `SamplingParams`. `fields` are the names that the class has in this release; `timed` asks for the request's times.

    Raises BadInput, Refused.
    """
    if sampling.beam_width > 1 or sampling.stop:
        raise Refused(
            "beam search and stop strings are not honoured exactly by TensorRT-LLM's LLM API",
            "Leave sampling.beam_width and sampling.stop out.",
        )
    given: dict[str, Any] = {
        "max_tokens": sampling.max_output_tokens,
        "ignore_eos": sampling.exact_output_length,
        "detokenize": False,
        "add_special_tokens": False,
    }
    if timed and "return_perf_metrics" in fields:
        given["return_perf_metrics"] = True
    if sampling.temperature <= 0:
        if sampling.n > 1:
            raise BadInput("sampling.n with greedy sampling gives the same output n times", "Type sampling.temperature=1.0 or sampling.n=1")
        return {**given, "top_k": 1}
    given |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k, "n": sampling.n}
    if sampling.seed is not None:
        given["seed"] = sampling.seed
    return given


def prompt_ids(request: Request) -> list[int]:
    """The prompt. Raises BadInput for one that was not turned into token ids."""
    if not request.input_ids:
        raise BadInput(f"request {request.request_id} has no token ids", "The prompt is empty, or was not tokenised by this engine.")
    return list(request.input_ids)
