"""Engine `sim`: a GPU server in virtual time. It spends simulated seconds and joules, and never computes anything."""

from __future__ import annotations

import importlib.metadata
import random
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, ClassVar

from tpb_core.api import BadInput, Capabilities, Engine, EngineContext, EngineDescription, EngineSink, Request, Tokenizer
from tpb_sim.options import SimEngineConfig
from tpb_sim.prefixes import PrefixCache
from tpb_sim.reports import HostReports
from tpb_sim.tokenizer import VOCABULARY_TOKENS, SimTokenizer

if TYPE_CHECKING:
    from tpb_sim.server import Server, ServerSpec, StepDone
    from tpb_sim.world import World


class SimEngine(Engine[SimEngineConfig]):
    """Static batches and concurrent streams on a world that the meter `sim` of the same run reads."""

    config_class = SimEngineConfig
    capabilities: ClassVar[Capabilities] = Capabilities(
        static_batch=True,
        concurrent_streams=True,
        step_log=True,
        step_members=True,
        token_stamps=True,
        exact_output_length=True,
        prefix_cache_control=True,
        tokenizer=True,
        token_input=True,
        virtual_time=True,
        sampling=frozenset({"temperature", "top_p", "top_k", "exact_output_length"}),
    )

    def __init__(self, config: SimEngineConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self._tokenizer = SimTokenizer()
        self._reports = HostReports(self._tokenizer, config.drafts > 0)
        self._prefixes = PrefixCache()
        self._world: World | None = None
        self._streams: Server | None = None
        self._batches: Server | None = None
        self._unseen: list[StepDone] = []
        """Steps that are over on the device and not yet seen by the host."""

    @classmethod
    def check(cls) -> str:
        """Version of this distribution: there is no library behind it."""
        return importlib.metadata.version("tpb-sim")

    def open(self, sink: EngineSink) -> EngineDescription:
        """Make the world (or join the one that the meter made), let loading take its time."""
        from tpb_sim.cost import cost_model
        from tpb_sim.server import build_server, places
        from tpb_sim.world import Jitter, world_of

        config, clock = self.config, self.context.clock
        if not clock.virtual:
            raise BadInput("engine 'sim' lives in virtual time and was given a real clock")
        cost = cost_model(config.cost, config.cost_parameters)
        instances = places(self._spec("continuous"), self.context.node)
        self._world = world_of(self.context.run_id, clock.now_ns())
        if not config.truth:
            self._world.recorder = None
        clock.sleep_until(clock.now_ns() + round(config.load_s * 1e9))
        self._world.load(instances, cost, clock.now_ns())
        seed = zlib.crc32(self.context.run_id.encode()) if config.seed is None else config.seed
        self._world.jitter = Jitter(config.jitter, seed)
        self._streams = build_server(self._spec("continuous"), self._world, instances, seed)
        self._batches = build_server(self._spec("static"), self._world, instances, seed)
        options = {key: value for key, value in asdict(config).items() if key not in ("name", "python")}
        return EngineDescription(
            name="sim",
            version=self.check(),
            model={"name": config.model or f"simulated ({config.cost})", "context_tokens": config.context_tokens},
            dtype="simulated",
            tokenizer={"name": "tpb-sim", "vocabulary_tokens": VOCABULARY_TOKENS},
            requested=options,
            effective=dict(options),
            prefix_cache=config.prefix_cache,
            instances=[
                {
                    "instance": place.instance,
                    "role": place.role,
                    "node": self.context.node,
                    "devices": list(place.devices),
                    "dp_rank": place.dp_rank,
                    "pp_stage": place.pp_stage,
                }
                for place in instances
            ],
            step_log={"available": True, "members": True, "reason": None},
        )

    def _spec(self, batching: str) -> ServerSpec:
        from tpb_sim.server import HostStamps, Limits, ServerSpec
        from tpb_sim.server.batchers import UNLIMITED

        config = self.config
        limits = Limits(
            max_sequences=config.max_sequences or max(self.context.max_concurrency, 1),
            max_step_tokens=config.batch_tokens if batching == "static" else config.chunk_tokens,
            kv_tokens=config.kv_tokens or UNLIMITED,
            mixed=config.mixed_steps,
            drafts=config.drafts,
            acceptance=config.acceptance,
        )
        return ServerSpec(
            batching=batching,
            layout=config.layout,
            devices=config.devices,
            limits=limits,
            padding=config.padding,
            stamps=HostStamps(config.host_lag_ms, config.asynchronous),
            host_gap_ms=config.host_gap_ms,
            draft_cost=config.draft_cost,
            transfer_ms=config.transfer_ms,
        )

    def tokenizer(self) -> Tokenizer:
        """Pieces of words; see `SimTokenizer`."""
        return self._tokenizer

    def run_batch(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """One static batch from its prefill to its last token."""
        server = self._opened(self._batches)
        self._accept(server, requests, sink)
        while self._iterate(server, sink, None):
            pass

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """Queue requests for the continuous batch."""
        self._accept(self._opened(self._streams), requests, sink)

    def advance(self, sink: EngineSink, until_ns: int) -> bool:
        """Let time pass until the next step ends, or until `until_ns`."""
        return self._iterate(self._opened(self._streams), sink, until_ns)

    def cancel(self, requests: Sequence[int], sink: EngineSink) -> None:
        """End requests: at once where they wait, with their step where one is under way."""
        server = self._opened(self._streams)
        for number in requests:
            sequence = self._reports.under_way.get(number)
            if sequence is not None and server.cancel(sequence):
                del self._reports.under_way[number]
                sink.failed(number, self.context.clock.now_ns(), "cancelled", "cancelled by the client")

    def reset_caches(self) -> bool:
        """Forget cached prompts."""
        self._prefixes.clear()
        return True

    def close(self) -> None:
        """The devices go back to bare power; the world stays until its truth is written."""
        if self._world is not None:
            self._world.unload(self.context.clock.now_ns())
        self._streams = self._batches = self._world = None
        self._reports.under_way.clear()
        self._unseen.clear()

    def _opened(self, server: Server | None) -> Server:
        if server is None:
            raise RuntimeError("engine 'sim' was used before it was opened")
        return server

    def _accept(self, server: Server, requests: Sequence[Request], sink: EngineSink) -> None:
        from tpb_sim.server import Sequence as ServedSequence  # not collections.abc's

        now_ns = self.context.clock.now_ns()
        for request in requests:
            ids = self._input_ids(request)
            output_tokens, reason = self._output_length(request)
            if not ids or len(ids) + request.sampling.max_output_tokens > self.config.context_tokens:
                what = (
                    f"{len(ids)} input and {request.sampling.max_output_tokens} output tokens do not fit 1 to {self.config.context_tokens}"
                )
                sink.failed(request.request, now_ns, "rejected", what)
                continue
            cached = self._prefixes.look_up_and_add(ids) if self.config.prefix_cache else 0
            sequence = ServedSequence(request.request, len(ids), output_tokens, cached_tokens=cached, finish_reason=reason)
            self._reports.under_way[request.request] = sequence
            server.submit(sequence, now_ns)

    def _input_ids(self, request: Request) -> list[int]:
        if request.input_ids is not None:
            return request.input_ids
        if request.messages is not None:
            return self._tokenizer.render_chat([request.messages])[0]
        return self._tokenizer.encode([request.text or ""])[0]

    def _output_length(self, request: Request) -> tuple[int, str]:
        limit = request.sampling.max_output_tokens
        if request.sampling.exact_output_length:
            return limit, "length"
        seed = request.sampling.seed if request.sampling.seed is not None else self.config.seed or 0
        drawn = random.Random(f"{seed} {request.prompt_id or request.request}").lognormvariate(0.0, 0.6) * self.config.natural_tokens
        return (limit, "length") if drawn >= limit else (max(1, round(drawn)), "stop")

    def _iterate(self, server: Server, sink: EngineSink, until_ns: int | None) -> bool:
        clock = self.context.clock
        server.start_ready(clock.now_ns())
        wakes = [step.t1_ns for step in self._unseen[:1]]
        if (event_ns := server.next_event_ns()) is not None:
            wakes.append(event_ns)
        if not wakes:
            return False
        clock.sleep_until(min(wakes) if until_ns is None else min(*wakes, max(until_ns, clock.now_ns())))
        now_ns = clock.now_ns()
        self._unseen += server.settle(now_ns)
        self._unseen.sort(key=lambda step: step.t1_ns)
        server.start_ready(now_ns)  # before anything is reported: the device does not wait for the host
        while self._unseen and self._unseen[0].t1_ns <= now_ns:
            done = self._unseen.pop(0)
            self._reports.step(done, server.world.places[done.instance].instance, sink)
        server.world.forget_old(now_ns)
        return bool(server.under_way or self._unseen)
