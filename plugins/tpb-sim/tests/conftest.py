"""A virtual clock of the tests' own, and the world that most of them start from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import strategies as st

from tpb_sim import Lengths, Load, WorldSpec
from tpb_sim.cost import COST_MODELS, cost_model
from tpb_sim.server import LAYOUTS, HostStamps, Limits, ServerSpec
from tpb_sim.server.batchers import UNLIMITED


class StepClock:
    """Time passes only when somebody sleeps; `tick` is called every `interval_ns` meanwhile."""

    virtual = True

    def __init__(self, tick: Callable[[], None] | None = None, interval_ns: int = 100_000_000) -> None:
        self._now_ns = 1_000_000_000
        self.tick, self._interval_ns = tick, interval_ns
        self._next_ns = self._now_ns + interval_ns

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until(self, t_ns: int) -> None:
        while self.tick is not None and self._next_ns <= t_ns:
            self._now_ns, self._next_ns = self._next_ns, self._next_ns + self._interval_ns
            self.tick()
        self._now_ns = max(self._now_ns, t_ns)


@pytest.fixture
def clock() -> StepClock:
    return StepClock()


@st.composite
def _world_specs(draw: st.DrawFn) -> WorldSpec:
    layout = draw(st.sampled_from(LAYOUTS))
    batching = draw(st.sampled_from(("continuous", "static")))
    shapes = ("static", "single") if batching == "static" else ("single", "closed", "offline", "poisson")
    limits = Limits(
        max_sequences=draw(st.integers(1, 8)),
        max_step_tokens=draw(st.sampled_from((64, 256, 512))),
        kv_tokens=draw(st.sampled_from((UNLIMITED, 800))),
        mixed=draw(st.booleans()),
        drafts=draw(st.sampled_from((0, 0, 3))),
    )
    server = ServerSpec(
        batching=batching,
        layout=layout,
        devices=draw(st.integers(2, 4)) if layout != "single" else draw(st.integers(1, 2)),
        limits=limits,
        padding=draw(st.booleans()),
        stamps=HostStamps(draw(st.sampled_from((0.0, 0.5))), draw(st.booleans())),
        draft_cost=draw(st.sampled_from((0.0, 0.1))),
        host_gap_ms=draw(st.sampled_from((0.0, 1.5))),
    )
    load = Load(
        shape=draw(st.sampled_from(shapes)),
        requests=draw(st.integers(1, 12)),
        batch_size=draw(st.integers(1, 5)),
        concurrency=draw(st.integers(1, 5)),
        rate_per_s=draw(st.sampled_from((0.5, 20.0))),
        input_tokens=Lengths(((1.0, 1, 300),)),
        output_tokens=Lengths(((1.0, 1, 30),)),
        cached_share=draw(st.sampled_from((0.0, 0.5))),
        cancelled_share=draw(st.sampled_from((0.0, 0.4))),
    )
    cost = cost_model(draw(st.sampled_from(sorted(COST_MODELS))))
    return WorldSpec(
        cost=cost, server=server, load=load, jitter=draw(st.sampled_from((0.0, 0.05))), idle_s=draw(st.sampled_from((0.0, 1.0)))
    )


@pytest.fixture(scope="session")
def world_specs() -> st.SearchStrategy[WorldSpec]:
    """Worlds for property tests: every layout, batching and cost model, with padding, caches, cancellations, preemption and drafts."""
    return _world_specs()
