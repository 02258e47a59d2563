"""`Sampling` in the words of `vllm.SamplingParams`: everything is said, so that no default of vLLM or of the checkpoint takes part."""

from __future__ import annotations

from typing import Any

from tpb_core.api import Sampling


def sampling_arguments(sampling: Sampling, sequence: int) -> dict[str, Any]:
    """Keyword arguments of `SamplingParams` for one sequence of a request.

    Sequences of a request (`n`) are requests of their own to vLLM; their seeds follow each other as where vLLM itself fans out.
    """
    drawn = sampling.temperature > 0
    return {
        "n": 1,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "repetition_penalty": 1.0,
        "seed": sampling.seed + sequence if drawn and sampling.seed is not None else None,
        "stop": list(sampling.stop),
        "include_stop_str_in_output": False,
        "max_tokens": sampling.max_output_tokens,
        "min_tokens": 0,
        "ignore_eos": sampling.exact_output_length,
        "skip_special_tokens": True,
        "detokenize": True,
    }
