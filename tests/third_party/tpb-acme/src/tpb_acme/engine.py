"""An engine that sleeps instead of computing: a millisecond a prompt token, ten an output token, whole batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tpb_core.api import (
    BadInput,
    Capabilities,
    Engine,
    EngineConfig,
    EngineDescription,
    EngineSink,
    Member,
    Request,
    Step,
    option,
)

_MS = 1_000_000


@dataclass
class AcmeConfig(EngineConfig):
    """Options of the acme engine."""

    name: str = option("acme", help="entry-point name of the engine")
    token_ms: float = option(10.0, help="time of one decode step", unit="ms", minimum=0)
    threads: int | None = option(None, help="threads (ignored: acme sleeps)")
    mode: str = option("calm", help="how it behaves", choices=("calm", "stormy"))
    api_key: str | None = option(None, help="key of the acme cloud", secret=True)
    extra: dict[str, Any] = option({}, help="anything, handed through")


class AcmeEngine(Engine[AcmeConfig]):
    """Static batches with a step log."""

    config_class = AcmeConfig
    capabilities = Capabilities(
        static_batch=True, batch_cancel=True, step_log=True, step_members=True, exact_output_length=True, tokenizer=True, token_input=True
    )

    @classmethod
    def check(cls) -> str:
        """Works everywhere."""
        return "3.2.1"

    def own_capabilities(self) -> Capabilities:
        """In a storm nobody is heard."""
        return replace(self.capabilities, batch_cancel=self.config.mode == "calm")

    def open(self, sink: EngineSink) -> EngineDescription:
        """Nothing to load."""
        if self.config.model == "missing":
            raise BadInput("engine.model=missing: there is no such model.", "Leave engine.model out.")
        return EngineDescription(
            name="acme",
            version=self.check(),
            model={"name": "acme-1"},
            requested={"token_ms": self.config.token_ms},
            effective={"token_ms": self.config.token_ms},
            step_log={"available": True, "members": True, "reason": None},
            extensions={"x_context_tokens": self.context.max_context_tokens},
        )

    def tokenizer(self) -> AcmeTokenizer:
        """One token a character."""
        return AcmeTokenizer()

    def run_batch(self, requests: Sequence[Request], sink: EngineSink) -> None:
        """One prefill step for all, then one step a token."""
        clock = self.context.clock
        lengths = {r.request: len(r.input_ids or []) or len(r.text or "") for r in requests}
        start_ns = clock.now_ns()
        for request in requests:
            sink.started(request.request, start_ns)
        clock.sleep_until(start_ns + sum(lengths.values()) * _MS // 10)
        end_ns = clock.now_ns()
        members = [Member(n, length, 0, 1, 0) for n, length in lengths.items()]
        sink.step(Step(start_ns, end_ns, sum(lengths.values()), 0, len(requests), members=members))
        for request in requests:
            sink.tokens(request.request, end_ns, 1, [1])
        for position in range(1, max(r.sampling.max_output_tokens for r in requests)):
            running = [r for r in requests if position < r.sampling.max_output_tokens]
            step_start_ns = clock.now_ns()
            clock.sleep_until(step_start_ns + int(self.config.token_ms * _MS))
            end_ns = clock.now_ns()
            members = [Member(r.request, 0, 1, 1, lengths[r.request] + position - 1) for r in running]
            sink.step(Step(step_start_ns, end_ns, 0, len(running), len(running), members=members))
            for request in running:
                sink.tokens(request.request, end_ns, 1, [1])
            for number in self.context.cancelled() if self.config.mode == "calm" else ():
                sink.failed(number, clock.now_ns(), "cancelled", "cancelled on demand")
                requests = [r for r in requests if r.request != number]
            if not requests:
                return
        for request in requests:
            sink.finished(
                request.request,
                clock.now_ns(),
                "length",
                input_tokens=lengths[request.request],
                output_tokens=request.sampling.max_output_tokens,
            )

    def reset_caches(self) -> bool:
        """There are none."""
        return True


class AcmeTokenizer:
    """Characters."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Code points."""
        return [[ord(c) for c in text] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Characters."""
        return ["".join(map(chr, row)) for row in ids]

    def render_chat(self, conversations: Sequence[Sequence[dict[str, object]]]) -> list[list[int]]:
        """Contents one after the other."""
        return self.encode(["\n".join(str(m["content"]) for m in c) for c in conversations])
