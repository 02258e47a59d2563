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


class ServerLog:
    """The configuration that the server printed when it started last."""

    def __init__(self, log_path: str | None) -> None:
        text = Path(log_path).read_text(errors="replace") if log_path is not None and Path(log_path).is_file() else ""
        told = list(_CONFIGURATION.finditer(text))
        self._told = told[-1]["told"] if told else ""
        self._batched_tokens = [int(tokens) for tokens in _BATCHED_TOKENS.findall(text)]

    def effective_options(self) -> dict[str, Any]:
        """Options as they are; what the server did not print is absent."""
        words = {ours: self._word(theirs) for theirs, ours in _NAMES.items()}
        effective = {option: _value(option, word) for option, word in words.items() if word is not None}
        if self._batched_tokens:
            effective["max_num_batched_tokens"] = self._batched_tokens[-1]
        return effective

    def device_kind(self) -> str | None:
        """`cuda`, `cpu`, ...; None where the server did not print it."""
        return self._word("device_config")

    def _word(self, name: str) -> str | None:
        match = re.search(rf"(?:^|, ){name}=([^,]*)", self._told)
        return match[1] if match else None


def _value(option: str, word: str) -> Any:
    if option == "quantization" and word == "None":
        return "none"
    if word in ("True", "False"):
        return word == "True"
    return int(word) if word.isdigit() else word.strip("'").removeprefix("torch.")
