"""The options of the engine `openai`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tpb_core.api import EngineConfig, option
from tpb_engine_openai.server_kinds import KINDS

AUTO = "auto"
_HOW_TO_REACH_IT = {
    "name",
    "python",
    "start_timeout_s",
    "request_timeout_s",
    "connect_timeout_s",
    "api_key_env",
    "url",
    "command",
    "host",
    "port",
}


@dataclass
class OpenAiConfig(EngineConfig):
    """Options of `engine=openai`. There is no option for the API key itself: it comes from the environment and is never stored."""

    name: str = option("openai", help="entry-point name of the engine")
    model: str | None = option(None, help="model name as the server knows it; default: the only one that it lists")
    url: str | None = option(None, help="address of a running server, for example http://localhost:8000 (a path before /v1 may follow)")
    command: str | None = option(None, help="start a server with this command instead; {host} and {port} are filled in; no shell")
    host: str = option("127.0.0.1", help="where a server that tpb starts listens")
    port: int | None = option(None, help="port of a server that tpb starts; default: a free one", minimum=1)
    ready_path: str | None = option(None, help="path that answers 200 when the server is ready; default: /health, else /v1/models")
    server: str = option(AUTO, help="kind of server; default: found out by asking it", choices=(AUTO, *KINDS))
    api: str = option("completions", help="which API is used: prompts as they are, or messages that the server renders",
                      choices=("completions", "chat"))  # fmt: skip
    api_key_env: str | None = option(
        None, help="name of the environment variable that holds the API key; default: none is sent (api.openai.com: OPENAI_API_KEY)"
    )
    stream: bool = option(True, help="ask for a stream; without, there are no token stamps")
    token_ids: bool | None = option(
        None, help="send prompts as token ids (completions only); default: where the server takes them and a tokenizer is at hand"
    )
    tokenizer: str | None = option(
        None,
        help="path of a tokenizer.json (needs the package tokenizers), or `server`, or `none`; default: the server's, where it has one",
    )
    request_timeout_s: float = option(600.0, help="a request that takes longer is given up", unit="s", minimum=0)
    connect_timeout_s: float = option(10.0, help="longest time to connect", unit="s", minimum=0)
    extra_body: dict[str, Any] = option({}, help="further fields of every request body; they win over ours and are recorded")

    def asked(self) -> dict[str, Any]:
        """The options that were given another value than their default, without those that say only how the server is reached."""
        chosen = {field.name: getattr(self, field.name) for field in fields(OpenAiConfig) if field.name not in _HOW_TO_REACH_IT}
        defaults = OpenAiConfig()
        return {name: value for name, value in chosen.items() if value != getattr(defaults, name)}
