"""What is known of each kind of server beyond the common API: what it takes, what it tells, and how it is recognised.

Sources: the servers' own documentation and request schemas; llama_cpp_python was tried. A field that a server would silently ignore
is never relied on: features that are not in its row are refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_COMMON = frozenset({"temperature", "top_p", "stop"})


@dataclass(frozen=True)
class ServerKind:
    """One row. `body` are fields that switch off what the server would otherwise apply by default."""

    name: str
    title: str
    sampling: frozenset[str] = _COMMON
    exact_length: tuple[str, ...] = ()
    """Fields that keep end-of-sequence tokens from ending a request: `ignore_eos`, `min_tokens`. Empty: it cannot."""
    token_ids: bool = False
    """/v1/completions takes `prompt` as a list of token ids."""
    token_ids_back: bool = False
    """Returns the ids of the tokens in each chunk when asked (`return_token_ids`)."""
    continuous_usage: bool = False
    """Each chunk says how many tokens there are so far when asked (`stream_options.continuous_usage_stats`)."""
    timings: bool = False
    """The same by llama-server's `timings_per_token`."""
    top_k_off: int | None = None
    """What `top_k` has to be so that it does nothing; None: the server has no such field."""
    body: dict[str, Any] = field(default_factory=dict)
    prefix_salt: bool = False
    """A `cache_salt` of its own keeps a request from reusing the KV cache of others."""
    cache_prompt: bool = False
    """`cache_prompt` switches prefix reuse off and on for a request."""
    reuses_prefix: bool = False
    """It always keeps the KV cache of the last prompt, and nothing switches that off."""
    reset_path: str | None = None
    """POST here forgets cached prompts."""
    tokenize: str | None = None
    """Which dialect of a tokenize end point it has (`server_tokenizer`)."""
    max_tokens_field: str = "max_tokens"
    """In the chat API; completions have `max_tokens` everywhere."""

    @property
    def counts_tokens(self) -> bool:
        """Whether it tells which tokens come when."""
        return self.token_ids_back or self.continuous_usage or self.timings


_ROWS = (
    ServerKind("vllm", "vLLM", _COMMON | {"top_k", "n"}, ("ignore_eos", "min_tokens"), token_ids=True, token_ids_back=True,
               continuous_usage=True, top_k_off=0, body={"min_p": 0.0, "repetition_penalty": 1.0}, prefix_salt=True,
               reset_path="/reset_prefix_cache", tokenize="vllm"),
    ServerKind("sglang", "SGLang", _COMMON | {"top_k", "n"}, ("ignore_eos", "min_tokens"), token_ids=True, continuous_usage=True,
               top_k_off=-1, body={"min_p": 0.0, "repetition_penalty": 1.0}, reset_path="/flush_cache"),
    ServerKind("trtllm", "TensorRT-LLM", _COMMON | {"top_k", "n"}, ("ignore_eos", "min_tokens"), token_ids=True, continuous_usage=True,
               top_k_off=0, body={"min_p": 0.0, "repetition_penalty": 1.0}),
    ServerKind("llamacpp", "llama-server", _COMMON | {"top_k"}, ("ignore_eos",), token_ids=True, timings=True, top_k_off=0,
               body={"min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "samplers": ["temperature", "top_k", "top_p"]},
               cache_prompt=True, tokenize="llamacpp"),
    ServerKind("llama_cpp_python", "llama-cpp-python", _COMMON | {"top_k"}, ("min_tokens",), top_k_off=0,
               body={"min_p": 0.0, "repeat_penalty": 1.0}, reuses_prefix=True, tokenize="llama_cpp_python"),
    ServerKind("tgi", "Text Generation Inference"),
    ServerKind("ollama", "Ollama"),
    ServerKind("openai", "hosted by OpenAI", _COMMON | {"n"}, max_tokens_field="max_completion_tokens"),
    ServerKind("other", "an OpenAI-compatible server", _COMMON | {"n"}),
)  # fmt: skip
KINDS: dict[str, ServerKind] = {row.name: row for row in _ROWS}

OWNERS = {
    "vllm": "vllm",
    "sglang": "sglang",
    "tensorrt_llm": "trtllm",
    "tensorrt-llm": "trtllm",
    "trtllm": "trtllm",
    "llamacpp": "llamacpp",
    "llama.cpp": "llamacpp",
    "library": "ollama",
    "me": "llama_cpp_python",
    "system": "openai",
    "openai": "openai",
    "openai-internal": "openai",
}
"""`owned_by` of the models that a server lists -> kind."""
