"""The log of steps: device times, work, cost, counterfactual costs, host stamps and members, in compact columns."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tpb_sim.cost import StepCost

if TYPE_CHECKING:
    from tpb_sim.server.plan import Plan
    from tpb_sim.server.stamps import Stamps

NOTHING = StepCost(0.0, 0.0)

INTS = (
    "instance", "t0_ns", "t1_ns", "host_t0_ns", "host_t1_ns", "prefill_tokens", "decode_tokens", "emitted_tokens", "draft_tokens",
    "accepted_tokens", "recomputed_tokens", "prefill_padding_tokens", "decode_padding_tokens", "kv_tokens", "prefill_kv_tokens",
)  # fmt: skip
FLOATS = ("joules", "prefill_only_s", "prefill_only_j", "decode_only_s", "decode_only_j", "static_w")


class StepRun(NamedTuple):
    """A step as the device ran it: when, at what cost, what each phase alone would have cost, and the static power meanwhile."""

    t0_ns: int
    t1_ns: int
    cost: StepCost
    prefill_only: StepCost
    decode_only: StepCost
    static_w: float


@dataclass(frozen=True)
class TrueSteps:
    """Steps in the order in which they began. Energies are above static power, of all devices of the instance together.

    `t0_ns`, `t1_ns` are the device's times, `host_*` the stamps of the server's log. `prefill_only_*` is what a step would have taken
    without its decode part: the step itself where it has none, 0 where it has no prefill. `static_w` is that of each device.
    """

    instance: npt.NDArray[np.int64]
    t0_ns: npt.NDArray[np.int64]
    t1_ns: npt.NDArray[np.int64]
    host_t0_ns: npt.NDArray[np.int64]
    host_t1_ns: npt.NDArray[np.int64]
    prefill_tokens: npt.NDArray[np.int64]
    decode_tokens: npt.NDArray[np.int64]
    emitted_tokens: npt.NDArray[np.int64]
    draft_tokens: npt.NDArray[np.int64]
    accepted_tokens: npt.NDArray[np.int64]
    recomputed_tokens: npt.NDArray[np.int64]
    prefill_padding_tokens: npt.NDArray[np.int64]
    decode_padding_tokens: npt.NDArray[np.int64]
    kv_tokens: npt.NDArray[np.int64]
    prefill_kv_tokens: npt.NDArray[np.int64]
    joules: npt.NDArray[np.float64]
    prefill_only_s: npt.NDArray[np.float64]
    prefill_only_j: npt.NDArray[np.float64]
    decode_only_s: npt.NDArray[np.float64]
    decode_only_j: npt.NDArray[np.float64]
    static_w: npt.NDArray[np.float64]
    offsets: npt.NDArray[np.int64]
    """Members of step i are rows [offsets[i], offsets[i + 1]) of the five columns below."""
    request: npt.NDArray[np.int32]
    member_prefill: npt.NDArray[np.int32]
    member_decode: npt.NDArray[np.int32]
    member_emitted: npt.NDArray[np.int32]
    member_kv: npt.NDArray[np.int32]

    @property
    def duration_s(self) -> npt.NDArray[np.float64]:
        """Length of each step on the device in s."""
        return (self.t1_ns - self.t0_ns) / 1e9


class StepRecorder:
    """Appends steps; `columns()` gives them as arrays. About 170 bytes a step and 20 a member."""

    def __init__(self) -> None:
        self._ints, self._floats, self._offsets = array("q"), array("d"), array("q", [0])
        self._request, self._prefill, self._decode, self._emitted, self._kv = (array("i") for _ in range(5))

    def append(self, instance: int, run: StepRun, host: Stamps, plan: Plan, last_stage: bool) -> None:
        """One step. Tokens are emitted on the last pipeline stage only."""
        self._ints.extend((
            instance, run.t0_ns, run.t1_ns, host.t0_ns, host.t1_ns, plan.prefill_tokens, plan.decode_tokens,
            plan.emitted_tokens if last_stage else 0, plan.draft_tokens, plan.accepted_tokens, plan.recomputed_tokens,
            plan.prefill_padding_tokens, plan.decode_padding_tokens, plan.kv_tokens, plan.prefill_kv_tokens,
        ))  # fmt: skip
        alone = (*run.prefill_only, *run.decode_only)
        self._floats.extend((run.cost.joules, *alone, run.static_w))
        self._request.fromlist(plan.request)
        self._prefill.fromlist(plan.prefill)
        self._decode.fromlist(plan.decode)
        self._emitted.fromlist(plan.emitted if last_stage else [0] * len(plan.emitted))
        self._kv.fromlist(plan.kv)
        self._offsets.append(len(self._request))

    def columns(self) -> TrueSteps:
        """Everything so far, copied."""
        ints = np.array(self._ints, dtype=np.int64).reshape(-1, len(INTS))
        floats = np.array(self._floats, dtype=np.float64).reshape(-1, len(FLOATS))
        columns: dict[str, npt.NDArray[Any]] = {name: np.ascontiguousarray(ints[:, place]) for place, name in enumerate(INTS)}
        columns |= {name: np.ascontiguousarray(floats[:, place]) for place, name in enumerate(FLOATS)}
        return TrueSteps(
            **columns,
            offsets=np.array(self._offsets, dtype=np.int64),
            request=np.array(self._request, dtype=np.int32),
            member_prefill=np.array(self._prefill, dtype=np.int32),
            member_decode=np.array(self._decode, dtype=np.int32),
            member_emitted=np.array(self._emitted, dtype=np.int32),
            member_kv=np.array(self._kv, dtype=np.int32),
        )
