"""What a server is and how it is used, for the manifest."""

from __future__ import annotations

from typing import Any

from tpb_core.api import Capabilities, EngineDescription
from tpb_engine_openai.address import Address
from tpb_engine_openai.config import OpenAiConfig
from tpb_engine_openai.launched_server import LaunchedServer
from tpb_engine_openai.server import Server
from tpb_engine_openai.tokenizers_of import AnyTokenizer


def describe(
    config: OpenAiConfig,
    address: Address,
    server: Server,
    tokenizer: AnyTokenizer | None,
    launched: LaunchedServer | None,
    capabilities: Capabilities,
) -> EngineDescription:
    """The description of a server that was found. What it does not tell (dtype, quantization) is None."""
    kind = server.kind
    reuse = True if kind.reuses_prefix else None
    if kind.cache_prompt:
        reuse = config.prefix_cache
    elif kind.prefix_salt and not config.prefix_cache:
        reuse = False  # each request has a salt of its own
    effective: dict[str, Any] = {
        **config.asked(),
        "model": server.model,
        "server": kind.name,
        "api": config.api,
        "stream": config.stream,
        "token_ids": capabilities.token_input,
    }
    if reuse is not None:
        effective["prefix_cache"] = reuse
    else:
        effective.pop("prefix_cache", None)
    return EngineDescription(
        name=config.name,
        version=f"{kind.name} {server.version or '(version not told)'}",
        model={"name": server.model, "context_tokens": server.context_tokens},
        dtype=server.details.get("dtype"),
        quantization=server.details.get("quantization"),
        tokenizer={
            **({"source": None} if tokenizer is None else tokenizer.described),
            "chat_template": "server" if config.api == "chat" else None,
        },
        requested=config.asked(),
        effective=effective,
        prefix_cache=reuse,
        extensions={
            "x_server": {
                "url": str(address),
                "kind": kind.name,
                "kind_found_out": server.guessed,
                "version": server.version,
                "command": None if launched is None else launched.arguments,
                "token_stamps": "from the server's counts"
                if capabilities.token_stamps
                else "none: the server does not say what comes when",
                "told": server.details,
            }
        },
    )
