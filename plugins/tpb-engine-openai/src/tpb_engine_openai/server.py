"""What a server says of itself: its kind, version, models, and the options it really runs with."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

from tpb_core.api import BadInput, Reason, Unavailable
from tpb_engine_openai.questions import Questions
from tpb_engine_openai.server_kinds import KINDS, OWNERS, ServerKind

_PROPS = ("total_slots", "model_path", "build_info")


@dataclass
class Server:
    """One server as it was found."""

    kind: ServerKind
    version: str | None
    model: str
    context_tokens: int | None = None
    details: dict[str, Any] = field(default_factory=dict)
    """What else it tells of how it runs."""
    guessed: bool = False
    """The kind was found out, not given."""


def find_server(questions: Questions, wanted_kind: str | None, wanted_model: str | None) -> Server:
    """Ask a server what it is. Raises Unavailable (nobody there, no permission) and BadInput (no such model)."""
    status, _ = questions.ask("/v1/models")
    if status in (401, 403):
        raise Unavailable(
            f"{questions.address} wants an API key (HTTP {status})",
            reason=Reason.NO_PERMISSION,
            fix="Put it into the environment and name the variable:  export MY_KEY=...  and  engine.api_key_env=MY_KEY",
        )
    listing = questions.ask_json("/v1/models")
    models = [row for row in (listing or {}).get("data") or [] if isinstance(row, dict) and isinstance(row.get("id"), str)]
    kind = KINDS[wanted_kind] if wanted_kind else _kind(questions, models)
    model = _model(questions, models, wanted_model)
    row = next((row for row in models if row["id"] == model), {})
    server = Server(kind, None, model, guessed=wanted_kind is None)
    _ask_more(questions, server, row)
    return server


def _kind(questions: Questions, models: list[dict[str, Any]]) -> ServerKind:
    host = questions.address.host
    if host == "api.openai.com" or host.endswith(".openai.azure.com"):
        return KINDS["openai"]
    owners = {str(row.get("owned_by", "")).lower() for row in models}
    for owner in owners:
        if OWNERS.get(owner) in (None, "openai"):
            continue  # "system" and "openai" are also what many a proxy says
        if OWNERS[owner] == "llama_cpp_python" and questions.ask("/extras/tokenize/count")[0] == 404:
            continue  # "me" without its end points is somebody else
        return KINDS[OWNERS[owner]]
    if questions.ask_json("/api/version") is not None and questions.ask("/api/tags")[0] == 200:
        return KINDS["ollama"]
    if "model_id" in (questions.ask_json("/info") or {}):
        return KINDS["tgi"]
    if "total_slots" in (questions.ask_json("/props") or {}):
        return KINDS["llamacpp"]
    return KINDS["other"]


def _model(questions: Questions, models: list[dict[str, Any]], wanted: str | None) -> str:
    names = [str(row["id"]) for row in models]
    if wanted is None:
        if len(names) == 1:
            return names[0]
        if not names:
            raise BadInput(f"{questions.address}/v1/models lists no model", "Name it:  engine.model=NAME")
        raise BadInput(f"{questions.address} has {len(names)} models", f"Choose one:  engine.model={names[0]}", [", ".join(names[:20])])
    if names and wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=1)
        raise BadInput(
            f"{questions.address} has no model {wanted!r}",
            f"Did you mean engine.model={near[0]}?" if near else f"It has: {', '.join(names[:20])}",
        )
    return wanted


def _ask_more(questions: Questions, server: Server, row: dict[str, Any]) -> None:
    """Version, context length and whatever a kind tells beyond the common API."""
    server.context_tokens = _whole(row.get("max_model_len")) or _whole((row.get("meta") or {}).get("n_ctx_train"))
    kind = server.kind.name
    if kind in ("vllm", "trtllm"):
        server.version = _text((questions.ask_json("/version") or {}).get("version"))
        server.details = {key: row[key] for key in ("root", "max_model_len") if row.get(key) is not None}
    elif kind == "llamacpp":
        props = questions.ask_json("/props") or {}
        server.version = _text(props.get("build_info"))
        server.details = {key: props[key] for key in _PROPS if props.get(key) is not None}
        server.context_tokens = _whole((props.get("default_generation_settings") or {}).get("n_ctx")) or server.context_tokens
    elif kind == "sglang":
        info = questions.ask_json("/get_server_info") or {}
        server.version = _text(info.get("version"))
        kept = ("model_path", "dtype", "quantization", "kv_cache_dtype", "tp_size", "dp_size", "context_length", "disable_radix_cache")
        server.details = {key: info[key] for key in kept if info.get(key) is not None}
        server.context_tokens = _whole(info.get("context_length")) or server.context_tokens
    elif kind == "tgi":
        info = questions.ask_json("/info") or {}
        server.version = _text(info.get("version"))
        server.details = {
            key: info[key] for key in ("model_id", "model_sha", "model_dtype", "max_total_tokens") if info.get(key) is not None
        }
        server.context_tokens = _whole(info.get("max_total_tokens"))
    elif kind == "ollama":
        server.version = _text((questions.ask_json("/api/version") or {}).get("version"))


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(value: Any) -> str | None:
    return value[:100] if isinstance(value, str) and value else None
