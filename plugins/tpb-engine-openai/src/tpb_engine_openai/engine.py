"""The engine `openai` as tpb sees it: finds or starts the server, describes it, hands requests to the client, ends everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, ClassVar

from tpb_core.api import (
    BadInput,
    Capabilities,
    Engine,
    EngineConfig,
    EngineContext,
    EngineDescription,
    EngineSink,
    Request,
    Tokenizer,
)
from tpb_engine_openai.config import AUTO, OpenAiConfig
from tpb_engine_openai.server_kinds import KINDS, ServerKind

if TYPE_CHECKING:
    from tpb_engine_openai.address import Address
    from tpb_engine_openai.client import StreamClient
    from tpb_engine_openai.ending import Endings
    from tpb_engine_openai.launched_server import LaunchedServer
    from tpb_engine_openai.questions import Questions
    from tpb_engine_openai.request_body import RequestBody
    from tpb_engine_openai.server import Server
    from tpb_engine_openai.tokenizers_of import AnyTokenizer


class OpenAiEngine(Engine[OpenAiConfig]):
    """A server that speaks OpenAI's API, running already or started by us."""

    config_class: ClassVar[type[EngineConfig]] = OpenAiConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        served=True,
        concurrent_streams=True,
        token_stamps=True,
        exact_output_length=True,
        prefix_cache_control=True,
        tokenizer=True,
        token_input=True,
        sampling=frozenset({"temperature", "top_p", "top_k", "n", "stop"}),
    )

    def __init__(self, config: OpenAiConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self._launched: LaunchedServer | None = None
        self._questions: Questions | None = None
        self._server: Server | None = None
        self._tokenizer: AnyTokenizer | None = None
        self._client: StreamClient | None = None
        self._body: RequestBody | None = None
        self._endings: Endings | None = None
        self._under_way: set[int] = set()
        self._bodies: dict[str, bytes] = {}
        """Of prepared requests, by their ids."""

    @classmethod
    def check(cls) -> str:
        """The version of this plugin: the library is at the other end."""
        return metadata.version("tpb-engine-openai")

    def own_capabilities(self) -> Capabilities:
        """Of the server, once it was asked; before that, of its declared kind, or the best there is."""
        if self._server is not None:
            return self._capabilities_of(self._server.kind, has_tokenizer=self._tokenizer is not None)
        if self.config.server != AUTO:
            return self._capabilities_of(KINDS[self.config.server], has_tokenizer=self.config.tokenizer != "none")
        return replace(self.capabilities, token_stamps=self.config.stream)

    def open(self, sink: EngineSink) -> EngineDescription:
        """Start the server where asked, find out what it is. Raises BadInput, Unavailable, MeasurementFailed, leaving nothing."""
        from tpb_engine_openai.address import Address

        config = self.config
        if (config.url is None) == (config.command is None):
            what = "engine=openai needs a server" if config.url is None else "engine.url and engine.command exclude each other"
            raise BadInput(what, "Type engine.url=http://localhost:8000, or engine.command='vllm serve MODEL --port {port}'")
        try:
            if config.url is not None:
                address = Address.parse(config.url, "engine.url")
            else:
                address = self._launch()
            return self._connect(address)
        except BaseException:
            self.close()
            raise

    def tokenizer(self) -> Tokenizer:
        """The server's tokenizer, or the one from the file."""
        if self._tokenizer is None:
            raise BadInput("no tokenizer is known for this server", "Give the model's tokenizer.json with engine.tokenizer=PATH")
        return self._tokenizer

    def prepare(self, requests: Sequence[Request]) -> None:
        """Write the bodies of requests ahead. Raises BadInput for prompts that this API cannot take."""
        assert self._body is not None, "the engine is not open"
        self._bodies |= {request.request_id: self._body.write(request) for request in requests}

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Hand requests to the client; returns at once. Raises BadInput for prompts that this API cannot take."""
        from tpb_engine_openai.answer import Answer
        from tpb_engine_openai.request_body import PATHS

        assert self._client is not None and self._body is not None, "the engine is not open"
        for request in requests:
            body = self._bodies.pop(request.request_id, None) or self._body.write(request)
            self._under_way.add(request.request)
            self._client.send(PATHS[self.config.api], body, Answer(request))

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """Wait for something to report, `until_ns` at the latest, and report it."""
        from tpb_engine_openai.exchange import Ended, Tokens

        if self._client is None or self._endings is None or not self._under_way:
            return False
        self._client.wait(until_ns)
        for report in self._client.take():
            if isinstance(report, Tokens):
                sink.tokens(report.request, report.t_ns, report.number, report.ids)
            elif isinstance(report, Ended):
                self._under_way.discard(report.request)
                self._endings.report(report, sink)
            else:
                sink.first_token(report.request, report.t_ns)
        return bool(self._under_way)

    def report_fd(self) -> int | None:
        """Readable when a request has ended."""
        return None if self._client is None else self._client.fileno()

    def cancel(self, requests: Sequence[int], sink: EngineSink) -> None:
        """Close the streams of these requests; they are reported as cancelled by `advance`."""
        for request in requests:
            if self._client is not None and request in self._under_way:
                self._client.cancel(request)

    def settle(self, sink: EngineSink) -> None:
        """Nothing is under way; bodies of requests that were never sent go."""
        self._bodies.clear()

    def reset_caches(self) -> bool:
        """True where no request can meet a cached prompt: kept apart one by one, or forgotten by the server now."""
        if self._server is None or self._questions is None:
            return False
        kind = self._server.kind
        if not self.config.prefix_cache and (kind.prefix_salt or kind.cache_prompt):
            return True
        return kind.reset_path is not None and self._questions.ask(kind.reset_path, {})[0] == 200

    def processes(self) -> list[int]:
        """Of a server that we started."""
        return [] if self._launched is None else self._launched.processes()

    def close(self) -> None:
        """Close the streams; end the server where we started it, for certain. Idempotent."""
        client, questions, launched = self._client, self._questions, self._launched
        self._client = self._questions = self._launched = self._server = self._tokenizer = None
        self._under_way.clear()
        if client is not None:
            client.close()
        if questions is not None:
            questions.close()
        if launched is not None:
            launched.stop()

    def _launch(self) -> Address:
        from tpb_engine_openai.address import Address
        from tpb_engine_openai.api_key import key_headers
        from tpb_engine_openai.launched_server import LaunchedServer

        config = self.config
        assert config.command is not None
        self._launched = LaunchedServer(config.command, config.host, config.port, self.context.log_path)
        address = Address(False, config.host, self._launched.port)
        headers = key_headers(config.api_key_env, address, "engine.api_key_env")
        self._launched.wait_until_ready(address, headers, config.ready_path, config.start_timeout_s)
        return address

    def _connect(self, address: Address) -> EngineDescription:
        from tpb_engine_openai.api_key import key_headers
        from tpb_engine_openai.client import ClientLimits, StreamClient
        from tpb_engine_openai.description import describe
        from tpb_engine_openai.ending import Endings
        from tpb_engine_openai.questions import Questions
        from tpb_engine_openai.request_body import RequestBody
        from tpb_engine_openai.server import find_server
        from tpb_engine_openai.tokenizers_of import FileTokenizer, find_tokenizer

        config = self.config
        headers = key_headers(config.api_key_env, address, "engine.api_key_env")
        self._questions = Questions(address, headers)
        server = find_server(self._questions, None if config.server == AUTO else config.server, config.model)
        self._tokenizer = find_tokenizer(config, self._questions, server)
        self._server = server
        if config.token_ids and not self._sends_ids(server.kind, has_tokenizer=self._tokenizer is not None):
            raise BadInput(
                f"engine.token_ids=true: {server.kind.title} takes no token ids here",
                "It takes a tokenizer, engine.api=completions, and a server that is known to take ids (engine.server=vllm).",
            )
        limits = ClientLimits(config.request_timeout_s, config.connect_timeout_s)
        self._client = StreamClient(address, headers, limits, self.context.clock.now_ns)
        self._body = RequestBody(config, server.kind, server.model)
        own = self._tokenizer if isinstance(self._tokenizer, FileTokenizer) else None
        self._endings = Endings(own, chat=config.api == "chat", prefix_cache=config.prefix_cache)
        return describe(config, address, server, self._tokenizer, self._launched, self.own_capabilities())

    def _sends_ids(self, kind: ServerKind, *, has_tokenizer: bool) -> bool:
        return has_tokenizer and kind.token_ids and self.config.api == "completions"

    def _capabilities_of(self, kind: ServerKind, *, has_tokenizer: bool) -> Capabilities:
        return Capabilities(
            served=True,
            concurrent_streams=True,
            token_stamps=self.config.stream and kind.counts_tokens,
            exact_output_length=bool(kind.exact_length),
            prefix_cache_control=kind.prefix_salt or kind.cache_prompt,
            tokenizer=has_tokenizer,
            token_input=self._sends_ids(kind, has_tokenizer=has_tokenizer) and self.config.token_ids is not False,
            sampling=kind.sampling,
        )
