"""Layouts by name: how many instances, on which devices, in which roles, and how requests pass through them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence as Items
from dataclasses import dataclass, field

from tpb_core.api import BadInput
from tpb_sim.server.batchers import Batcher, ContinuousBatcher, Limits, StaticBatcher
from tpb_sim.server.server import Lane, Server
from tpb_sim.server.stamps import HostStamps
from tpb_sim.world import InstancePlace, World

LAYOUTS = ("single", "data_parallel", "pipeline", "disaggregated")


@dataclass(frozen=True)
class ServerSpec:
    """Everything about a simulated server but its physics."""

    batching: str = "continuous"
    """`continuous` or `static`."""
    layout: str = "single"
    """`single`: one instance on all devices (tensor parallel). `data_parallel`: one on each device. `pipeline`: one instance cut into
    stages, one a device, with as many batches under way as stages. `disaggregated`: the first half of the devices computes prompts."""
    devices: int = 1
    limits: Limits = field(default_factory=Limits)
    padding: bool = False
    stamps: HostStamps = field(default_factory=HostStamps)
    host_gap_ms: float = 0.0
    """Pause of an instance between its steps."""
    draft_cost: float = 0.0
    """What one pass of a draft model takes relative to the model itself; 0: drafts come without a model of their own. Layout `single`."""
    transfer_ms: float = 2.0
    """Time that a cache takes from a prefill to a decode instance."""


def device_names(count: int, node: str = "n0") -> list[str]:
    """Domains of the devices of a node."""
    return [f"{node}/gpu{index}" for index in range(count)]


def places(spec: ServerSpec, node: str = "n0") -> list[InstancePlace]:
    """The instances of a layout. Raises `BadInput` for an unknown layout or too few devices."""
    names = device_names(spec.devices, node)
    if spec.layout not in LAYOUTS:
        near = difflib.get_close_matches(spec.layout, LAYOUTS)
        raise BadInput(
            f"there is no layout {spec.layout!r}", f"Known: {', '.join(LAYOUTS)}.", [f"Did you mean {near[0]!r}?"] if near else []
        )
    if spec.layout == "single":
        draft = [InstancePlace("draft", tuple(names), role="draft")] if spec.limits.drafts and spec.draft_cost else []
        return [InstancePlace("0", tuple(names)), *draft]
    if spec.devices < 2:
        raise BadInput(f"layout {spec.layout!r} needs at least two devices", "Add engine.devices=2.")
    if spec.layout == "data_parallel":
        return [InstancePlace(str(rank), (name,), dp_rank=rank) for rank, name in enumerate(names)]
    if spec.layout == "pipeline":
        return [InstancePlace(str(stage), (name,), pp_stage=stage) for stage, name in enumerate(names)]
    half = spec.devices // 2
    return [InstancePlace("prefill", tuple(names[:half]), role="prefill"), InstancePlace("decode", tuple(names[half:]), role="decode")]


def build_server(spec: ServerSpec, world: World, instances: Items[InstancePlace], seed: int = 0) -> Server:
    """The server of a layout on a world that has its model loaded."""

    def batcher(index: int) -> Batcher:
        if spec.batching == "static":
            return StaticBatcher(spec.limits.max_step_tokens, spec.padding)
        if spec.batching == "continuous":
            return ContinuousBatcher(spec.limits, seed + 1000 + index)
        raise BadInput(f"there is no batching {spec.batching!r}", "Known: static, continuous.")

    count = len(instances)
    shares: tuple[float, ...] = (1.0,)
    if spec.layout == "pipeline":
        lanes = [Lane(batcher(index), tuple(range(count))) for index in range(count)]
        shares = (1.0 / count,) * count
    elif len(instances) == 2 and instances[1].role == "draft":
        lanes, shares = [Lane(batcher(0), (1, 0))], (spec.draft_cost * spec.limits.drafts, 1.0)
    elif spec.layout == "disaggregated":
        lanes = [Lane(batcher(0), (0,), next_lane=1), Lane(ContinuousBatcher(spec.limits, seed + 1001), (1,))]
    else:
        lanes = [Lane(batcher(index), (index,)) for index in range(count)]
    return Server(
        world,
        lanes,
        stage_shares=shares,
        stamps=spec.stamps,
        host_gap_ns=round(spec.host_gap_ms * 1e6),
        transfer_ns=round(spec.transfer_ms * 1e6),
        seed=seed,
    )
