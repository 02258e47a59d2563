"""What a vLLM server says of its configuration in its log: there is no public end point that tells it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_CONFIGURATION = re.compile(r"Initializing a V1 LLM engine .*? with config: (?P<told>.*)")
_BATCHED_TOKENS = re.compile(r"max_num_batched_tokens=(\d+)")
_NAMES = {
    "dtype": "dtype",
    "max_seq_len": "max_model_len",
    "tensor_parallel_size": "tensor_parallel",
    "pipeline_parallel_size": "pipeline_parallel",
    "data_parallel_size": "data_parallel",
    "quantization": "quantization",
    "enforce_eager": "enforce_eager",
    "kv_cache_dtype": "kv_cache_dtype",
    "trust_remote_code": "trust_remote_code",
    "enable_prefix_caching": "prefix_cache",
    "enable_chunked_prefill": "chunked_prefill",
}
"""Name in the log -> option."""


def effective_options(log_path: str | None) -> dict[str, Any]:
    """Options as the server printed them when it started last; what it did not print is absent."""
    if log_path is None or not Path(log_path).is_file():
        return {}
    text = Path(log_path).read_text(errors="replace")
    told = list(_CONFIGURATION.finditer(text))
    if not told:
        return {}
    effective: dict[str, Any] = {}
    for theirs, ours in _NAMES.items():
        if match := re.search(rf"(?:^|, ){theirs}=([^,]*)", told[-1]["told"]):
            effective[ours] = _value(ours, match[1])
    if tokens := _BATCHED_TOKENS.findall(text):
        effective["max_num_batched_tokens"] = int(tokens[-1])
    return effective


def _value(option: str, word: str) -> Any:
    if option == "quantization" and word == "None":
        return "none"
    if word in ("True", "False"):
        return word == "True"
    return int(word) if word.isdigit() else word.strip("'").removeprefix("torch.")
