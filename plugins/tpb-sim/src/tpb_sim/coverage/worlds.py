"""Worlds by name for coverage studies. Each says beforehand how often figures may be NULL and how wide their intervals may be."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass, field

from tpb_core.api import BadInput
from tpb_sim.cost import cost_model
from tpb_sim.loads import Lengths, Load
from tpb_sim.sensor import SENSORS, Faults
from tpb_sim.server import HostStamps, Limits, ServerSpec
from tpb_sim.simulation import Metering, WorldSpec


@dataclass(frozen=True)
class Expectation:
    """What an attributor may not exceed in a world: share of seeds without a figure, and mean width of the 95 % interval over the truth."""

    null_share: float
    width: float


@dataclass(frozen=True)
class NamedWorld:
    """A world and what is expected of whoever measures it. Keys of `expected` are phases and `request`."""

    name: str
    spec: WorldSpec
    expected: dict[str, Expectation] = field(default_factory=dict)

    @property
    def attributor(self) -> str:
        """The rung that tells phases here: static batches have no steps that do both."""
        return "windowed" if self.spec.load.shape in ("single", "static") else "steps"


EASY = {
    "total": Expectation(0.0, 0.02),
    "prefill": Expectation(0.05, 0.10),
    "decode": Expectation(0.05, 0.05),
    "request": Expectation(0.05, 0.60),
}
COARSE = {
    "total": Expectation(0.0, 0.05),
    "prefill": Expectation(0.50, 0.30),
    "decode": Expectation(0.50, 0.10),
    "request": Expectation(0.50, 1.00),
}
"""For sensors that see a part of the time, or late."""

JITTER = 0.02
"""Steps of the same work differ by this much in time and in energy, as they do on real devices."""
VARIED = Lengths(((1.0, 16, 128),))
BATCH_16 = ServerSpec(limits=Limits(max_sequences=16))
STATIC = ServerSpec(batching="static", limits=Limits(max_step_tokens=16384))
DRAWN = Metering(draw_errors=True)


def _poisson(rate_per_s: float, requests: int, **changes: object) -> WorldSpec:
    load = Load(shape="poisson", requests=requests, rate_per_s=rate_per_s, output_tokens=VARIED)
    return dataclasses.replace(WorldSpec(server=BATCH_16, load=load, metering=DRAWN), **changes)  # type: ignore[arg-type]


def _static(requests: int = 96, **changes: object) -> WorldSpec:
    load = Load(shape="static", requests=requests, batch_size=4)
    return dataclasses.replace(WorldSpec(server=STATIC, load=load, metering=DRAWN), **changes)  # type: ignore[arg-type]


def _long_context() -> WorldSpec:
    lengths = Lengths(((0.7, 100, 300), (0.3, 2000, 6000)))
    load = Load(shape="poisson", requests=80, rate_per_s=1.0, input_tokens=lengths, output_tokens=Lengths(((1.0, 16, 256),)))
    return WorldSpec(server=BATCH_16, load=load, metering=DRAWN)


def _two(layout: str) -> ServerSpec:
    return dataclasses.replace(BATCH_16, layout=layout, devices=2)


_WORLDS: dict[str, tuple[Callable[[], WorldSpec], dict[str, Expectation]]] = {
    "single_stream": (lambda: _static(24, load=Load(shape="single", requests=24)), EASY),
    "static_batch": (_static, EASY),
    "poisson_low": (lambda: _poisson(0.5, 60), EASY),
    "poisson_middle": (lambda: _poisson(4.0, 240), EASY),
    "poisson_saturating": (lambda: _poisson(14.0, 500), EASY),
    "long_context": (_long_context, EASY),
    "duty_cycle": (lambda: _static(metering=Metering(sensors=(SENSORS["a100"],), draw_errors=True)), COARSE),
    "poisson_duty_cycle": (lambda: _poisson(4.0, 240, metering=Metering(sensors=(SENSORS["a100"],), draw_errors=True)), COARSE),
    "average_1s": (
        lambda: _poisson(
            4.0, 240, metering=Metering(sensors=(dataclasses.replace(SENSORS["rtx3090_average"], counter=False),), draw_errors=True)
        ),
        COARSE,
    ),
    "node_1hz": (lambda: _poisson(4.0, 240, metering=Metering(node=SENSORS["bmc"], draw_errors=True)), {"total": Expectation(0.0, 0.02)}),
    "counter_reset": (lambda: _static(metering=Metering(faults=Faults(resets_s=(21.3,)), draw_errors=True)), EASY),
    "counter_wrap": (
        lambda: _static(metering=Metering(sensors=(dataclasses.replace(SENSORS["h100"], wrap_j=3000.0),), draw_errors=True)),
        EASY,
    ),
    "gaps": (
        lambda: _static(
            metering=Metering(
                sensors=(dataclasses.replace(SENSORS["rtx3090_instant"], counter=False),),
                faults=Faults(gaps_s=((20.0, 20.25),)),
                draw_errors=True,
            )
        ),
        COARSE,
    ),
    "noisy": (
        lambda: _static(metering=Metering(sensors=(dataclasses.replace(SENSORS["v100"], noise_w=15.0, counter=False),), draw_errors=True)),
        EASY,
    ),
    "two_gains": (lambda: _poisson(6.0, 300, server=_two("data_parallel")), EASY),
    "pipeline": (lambda: _poisson(4.0, 240, server=_two("pipeline")), EASY),
    "disaggregated": (lambda: _poisson(4.0, 240, server=_two("disaggregated")), EASY),
    "speculative": (
        lambda: _poisson(4.0, 240, server=dataclasses.replace(BATCH_16, limits=Limits(max_sequences=16, drafts=3))),
        EASY,
    ),
    "draft_model": (
        lambda: _poisson(4.0, 240, server=dataclasses.replace(BATCH_16, limits=Limits(max_sequences=16, drafts=3), draft_cost=0.1)),
        EASY,
    ),
    "preemption": (
        lambda: _poisson(6.0, 240, server=dataclasses.replace(BATCH_16, limits=Limits(max_sequences=16, kv_tokens=2500))),
        EASY,
    ),
    "asynchronous": (
        lambda: _poisson(4.0, 240, server=dataclasses.replace(BATCH_16, stamps=HostStamps(lag_ms=0.3, asynchronous=True))),
        EASY,
    ),
    "cancelled": (
        lambda: _poisson(
            4.0, 240, load=Load(shape="poisson", requests=240, rate_per_s=4.0, output_tokens=VARIED, cached_share=0.2, cancelled_share=0.15)
        ),
        EASY,
    ),
}
_MORE_REQUESTS = {"roofline": 3, "experts": 3}
"""Faster physics needs more requests for a window of the same length."""


def world_names() -> list[str]:
    """All names; each may be followed by a cost model: `poisson_middle:roofline`."""
    return list(_WORLDS)


def named_world(name: str) -> NamedWorld:
    """A world by name, on the affine cost model or on the one named after a colon. Raises `BadInput` for an unknown one."""
    base, _, cost = name.partition(":")
    if base not in _WORLDS:
        near = difflib.get_close_matches(base, _WORLDS)
        raise BadInput(f"there is no world {base!r}", f"Known: {', '.join(_WORLDS)}.", [f"Did you mean {near[0]!r}?"] if near else [])
    make, expected = _WORLDS[base]
    spec = dataclasses.replace(make(), jitter=JITTER)
    if cost:
        factor = _MORE_REQUESTS.get(cost, 1)
        load = dataclasses.replace(spec.load, requests=spec.load.requests * factor, rate_per_s=spec.load.rate_per_s * factor)
        spec = dataclasses.replace(spec, cost=cost_model(cost), load=load)
    return NamedWorld(name, spec, dict(expected))
