"""A request in the words of the server: everything that decides about the output is said, nothing is left to a default of its own."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import Any

from tpb_core.api import BadInput, Request
from tpb_engine_openai.config import OpenAiConfig
from tpb_engine_openai.server_kinds import ServerKind

PATHS = {"completions": "/v1/completions", "chat": "/v1/chat/completions"}


class RequestBody:
    """Writes the bodies of one run's requests."""

    def __init__(self, config: OpenAiConfig, kind: ServerKind, model: str) -> None:
        self._config, self._kind, self._model = config, kind, model
        self._salts = (f"{uuid.uuid4().hex}-{number}" for number in itertools.count())

    def write(self, request: Request) -> bytes:
        """The body as JSON. Raises BadInput for what this API cannot take."""
        body = {"model": self._model, **self._input(request), **self._sampling(request), **self._watching()}
        return json.dumps({**body, **self._config.extra_body}, separators=(",", ":")).encode()

    def _input(self, request: Request) -> dict[str, Any]:
        if self._config.api == "chat":
            if request.input_ids is not None:
                raise BadInput("the chat API takes messages, and this prompt is given as token ids", "Type engine.api=completions")
            messages = request.messages if request.messages is not None else [{"role": "user", "content": request.text}]
            for message in messages:
                _check_text_only(message.get("content"))
            return {"messages": messages}
        if request.input_ids is not None:
            return {"prompt": request.input_ids}
        if request.text is None:
            raise BadInput(
                "the prompts are chat messages, and the completions API takes text",
                "Let the server render them:  engine.api=chat",
            )
        return {"prompt": request.text}

    def _sampling(self, request: Request) -> dict[str, Any]:
        sampling, kind = request.sampling, self._kind
        limit = kind.max_tokens_field if self._config.api == "chat" else "max_tokens"
        body: dict[str, Any] = {
            limit: sampling.max_output_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            **kind.body,
        }
        if kind.top_k_off is not None:
            body["top_k"] = sampling.top_k or kind.top_k_off
        if sampling.n > 1:
            body["n"] = sampling.n
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if sampling.exact_output_length:
            body |= {name: True if name == "ignore_eos" else sampling.max_output_tokens for name in kind.exact_length}
            if sampling.stop and "ignore_eos" in kind.exact_length:
                body.pop("min_tokens", None)  # vLLM looks for stop strings only after so many tokens
        if not self._config.prefix_cache and kind.prefix_salt:
            body["cache_salt"] = next(self._salts)
        if kind.cache_prompt:
            body["cache_prompt"] = self._config.prefix_cache
        return body

    def _watching(self) -> dict[str, Any]:
        """What makes the server say when which token came."""
        kind = self._kind
        if not self._config.stream:
            return {"stream": False}
        options = {"include_usage": True, **({"continuous_usage_stats": True} if kind.continuous_usage else {})}
        body: dict[str, Any] = {"stream": True, "stream_options": options}
        if kind.token_ids_back:
            body["return_token_ids"] = True
        if kind.timings:
            body["timings_per_token"] = True
        return body


def _check_text_only(content: Any) -> None:
    if isinstance(content, list) and any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
        raise BadInput(
            "a prompt holds an image, sound or video: multimodal input is not measured by this version of tpb",
            "Leave those prompts out.",
        )
