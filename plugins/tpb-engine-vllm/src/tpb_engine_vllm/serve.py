"""The engine `vllm_serve`: vLLM's own OpenAI server, started with the same options, driven by the engine `openai`."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from typing import ClassVar

from tpb_core.api import EngineConfig, EngineContext, EngineDescription, EngineSink
from tpb_engine_openai import OpenAiConfig, OpenAiEngine
from tpb_engine_vllm.arguments import LORA_NAME, engine_arguments, environment, server_words
from tpb_engine_vllm.config import VllmServeConfig, devices
from tpb_engine_vllm.library import default_kv_cache_bytes, library_version, prepare
from tpb_engine_vllm.models import find_models, model_argument
from tpb_engine_vllm.server_log import ServerLog
from tpb_engine_vllm.shared_memory import SharedMemory

_SERVER = ("-m", "vllm.entrypoints.openai.api_server")
_WATCHED = ("--enable-per-request-metrics", "--enable-prompt-tokens-details")
"""Queue times and cached tokens with each answer."""


class VllmServeEngine(OpenAiEngine):
    """vLLM's server with the options of engine=vllm, in processes of its own, over HTTP."""

    config_class: ClassVar[type[EngineConfig]] = VllmServeConfig

    def __init__(self, config: VllmServeConfig, context: EngineContext) -> None:
        super().__init__(client_options(config), context)
        self._asked = config
        self._shared: SharedMemory | None = None

    @classmethod
    def check(cls) -> str:
        """Version of vLLM in this interpreter, which also runs the server."""
        return library_version()

    def open(self, sink: EngineSink) -> EngineDescription:
        """Start the server and wait for it. Raises as the engine `openai` does, and `BadInput` where there is no such model."""
        asked = self._asked
        version, source = self.check(), find_models(asked)
        command = shlex.join(server_command(asked, model_argument(source), default_kv_cache_bytes()))
        self.config = replace(self.config, command=command)
        prepare(environment(asked), in_process=False)
        description = super().open(sink)
        self._shared = SharedMemory(self.processes())
        log = ServerLog(self.context.log_path)
        effective = log.effective_options()
        return replace(
            description,
            version=version,
            model={**description.model, "name": source.label},
            dtype=effective.get("dtype"),
            quantization=None if effective.get("quantization") in (None, "none") else effective["quantization"],
            requested={**description.requested, **asked.requested()},
            effective={**description.effective, **effective},
            prefix_cache=effective.get("prefix_cache", description.prefix_cache),
            instances=[
                {"instance": str(rank), "role": "mixed", "node": self.context.node, "devices": devices(asked, log.device_kind(), rank)}
                for rank in range(asked.data_parallel)
            ],
        )

    def close(self) -> None:
        """End the server for certain, with its shared memory."""
        super().close()
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()


def client_options(config: VllmServeConfig) -> OpenAiConfig:
    """Options of the engine `openai` for a server of this kind; the command is added when it is known that the model is there."""
    return OpenAiConfig(
        name=config.name,
        python=config.python,
        model=LORA_NAME if config.lora else None,
        prefix_cache=config.prefix_cache,
        start_timeout_s=config.start_timeout_s,
        host=config.host,
        port=config.port,
        server="vllm",
        api=config.api,
        token_ids=None if config.token_ids and config.api == "completions" else False,
        request_timeout_s=config.request_timeout_s,
        connect_timeout_s=config.connect_timeout_s,
        extra_body=dict(config.extra_body),
    )


def server_command(config: VllmServeConfig, model: str, kv_cache_bytes: int | None = None) -> list[str]:
    """The words that start the server; `{host}` and `{port}` are filled in by the engine `openai`. Raises `BadInput`."""
    words = [
        sys.executable,
        *_SERVER,
        "--host",
        "{host}",
        "--port",
        "{port}",
        *server_words(engine_arguments(config, model, kv_cache_bytes)),
        *_WATCHED,
    ]
    if config.lora:
        words += ["--lora-modules", f"{LORA_NAME}={config.lora}"]
    return words
