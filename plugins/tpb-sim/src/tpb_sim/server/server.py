"""The simulated server: instances that run steps, lanes that plan them, and one order of events for all of it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tpb_sim.server.batchers import Batcher
from tpb_sim.server.plan import Plan
from tpb_sim.server.sequence import Sequence
from tpb_sim.server.stamps import HostStamps, StampClerk, Stamps
from tpb_sim.world import World

TRANSFER, WAKE = -1, -2
"""Events that belong to no lane: a cache arrives at the next lane; the host is ready to plan again."""


@dataclass(slots=True)
class Lane:
    """A batcher and the instances through which each of its plans passes in turn: stages of a pipeline, or a draft model and its target."""

    batcher: Batcher
    stages: tuple[int, ...]
    next_lane: int | None = None
    """Where sequences go after their first token (prefill/decode disaggregation)."""
    plan: Plan | None = None
    stage: int = 0
    running: bool = False
    ready_ns: int = 0


@dataclass(slots=True)
class StepDone:
    """A step that is over. `dispatch_ns` and `t1_ns` are the host's stamps, not yet serialised."""

    instance: int
    dispatch_ns: int
    t1_ns: int
    plan: Plan
    last_stage: bool
    finished: list[Sequence] = field(default_factory=list)


class Server:
    """Advances from event to event. The caller owns the clock: it asks for the next event, lets time pass, and settles."""

    def __init__(
        self,
        world: World,
        lanes: list[Lane],
        *,
        route: Callable[[list[Lane], Sequence], int] | None = None,
        stage_shares: tuple[float, ...] = (1.0,),
        stamps: HostStamps | None = None,
        host_gap_ns: int = 0,
        transfer_ns: int = 0,
        seed: int = 0,
    ) -> None:
        self.world = world
        self.lanes = lanes
        self._route = route or shortest_lane
        self._shares = stage_shares
        self._host_gap_ns, self._transfer_ns = host_gap_ns, transfer_ns
        count = 1 + max(stage for lane in lanes for stage in lane.stages)
        self._clerks = [StampClerk(stamps or HostStamps(), seed + index) for index in range(count)]
        self._busy = [False] * count
        self._load = [0] * len(lanes)
        self._lane_of: dict[int, int] = {}
        self._events: list[tuple[int, int, int, int]] = []  # time, order, lane or TRANSFER or WAKE, instance
        self._transfers: deque[tuple[Sequence, int]] = deque()
        self._stamps_of: dict[int, Stamps] = {}
        self._running: dict[int, Plan] = {}
        self._order = 0
        self.under_way = 0

    @property
    def serialised(self) -> int:
        """Steps whose host stamps overlapped the step before and were serialised."""
        return sum(clerk.serialised for clerk in self._clerks)

    def submit(self, sequence: Sequence, now_ns: int) -> None:
        """A sequence arrives."""
        sequence.submitted_ns = now_ns
        self._enter(sequence, self._route(self.lanes, sequence))
        self.under_way += 1

    def _enter(self, sequence: Sequence, lane: int) -> None:
        self._lane_of[sequence.request] = lane
        self._load[lane] += 1
        self.lanes[lane].batcher.add(sequence)

    def start_ready(self, now_ns: int) -> None:
        """Start every step that can start now."""
        for index, lane in enumerate(self.lanes):
            if lane.running or self._busy[lane.stages[lane.stage]]:
                continue
            if lane.plan is None and lane.ready_ns <= now_ns:
                lane.plan = lane.batcher.plan()
                if lane.plan is not None:
                    lane.plan.begin(now_ns)
            if lane.plan is not None:
                self._start(index, lane, lane.plan, now_ns)

    def _start(self, index: int, lane: Lane, plan: Plan, now_ns: int) -> None:
        if self.world.places[lane.stages[lane.stage]].role == "draft":
            plan = plan.drafting()
            if not plan.sequences:  # nobody decodes: straight on to the target model
                lane.stage += 1
                return self._start(index, lane, lane.plan or plan, now_ns)
        instance = lane.stages[lane.stage]
        lane.running = self._busy[instance] = True
        self._running[instance] = plan
        run = self.world.run_step(instance, now_ns, plan.work, self._shares[lane.stage])
        stamps = self._stamps_of[instance] = self._clerks[instance].stamp(now_ns, run.t1_ns)
        if self.world.recorder is not None:
            self.world.recorder.append(instance, run, stamps, plan, lane.stage == len(lane.stages) - 1)
        self._push(run.t1_ns, index, instance)
        return None

    def _push(self, t_ns: int, lane: int, instance: int) -> None:
        heapq.heappush(self._events, (t_ns, self._order, lane, instance))
        self._order += 1

    def next_event_ns(self) -> int | None:
        """When the next step ends or the next transfer arrives; None where nothing is under way."""
        return self._events[0][0] if self._events else None

    def settle(self, now_ns: int) -> list[StepDone]:
        """Everything that is over at `now_ns`, in order."""
        done: list[StepDone] = []
        while self._events and self._events[0][0] <= now_ns:
            _, _, index, instance = heapq.heappop(self._events)
            if index == WAKE:
                continue
            if index == TRANSFER:
                sequence, lane_index = self._transfers.popleft()
                self._enter(sequence, lane_index)
                continue
            done.append(self._settle_step(index, instance, now_ns))
        return done

    def _settle_step(self, index: int, instance: int, now_ns: int) -> StepDone:
        lane = self.lanes[index]
        assert lane.plan is not None
        plan, last = lane.plan, lane.stage == len(lane.stages) - 1
        stamps = self._stamps_of[instance]
        t1_ns = stamps.t1_ns
        lane.running = self._busy[instance] = False
        step = StepDone(instance, stamps.dispatch_ns, t1_ns, self._running.pop(instance), last)
        if not last:
            lane.stage += 1
            return step
        plan.finish()
        for sequence, emitted in zip(plan.sequences, plan.emitted, strict=True):
            if emitted and sequence.first_token_ns is None:
                sequence.first_token_ns = t1_ns
        step.finished = lane.batcher.settle(plan)
        for sequence in step.finished:
            sequence.finished_ns = t1_ns
            self._leave(sequence)
            self.under_way -= 1
        if lane.next_lane is not None:
            self._hand_over(lane, plan, now_ns)
        lane.plan, lane.stage, lane.ready_ns = None, 0, now_ns + self._host_gap_ns
        if self._host_gap_ns:
            self._push(lane.ready_ns, WAKE, instance)
        return step

    def _hand_over(self, lane: Lane, plan: Plan, now_ns: int) -> None:
        assert lane.next_lane is not None
        for sequence in plan.sequences:
            if not sequence.todo and not sequence.done and not sequence.cancelled:
                lane.batcher.remove(sequence)
                self._leave(sequence)
                self._transfers.append((sequence, lane.next_lane))
                self._push(now_ns + self._transfer_ns, TRANSFER, 0)

    def _leave(self, sequence: Sequence) -> None:
        self._load[self._lane_of.pop(sequence.request)] -= 1

    def cancel(self, sequence: Sequence) -> bool:
        """End a sequence early. True where it is over at once; otherwise it leaves with the step that it is part of."""
        sequence.cancelled = True
        if sequence.running or sequence.request not in self._lane_of:
            return False
        self.lanes[self._lane_of[sequence.request]].batcher.remove(sequence)
        self._leave(sequence)
        self.under_way -= 1
        return True


def shortest_lane(lanes: list[Lane], sequence: Sequence) -> int:
    """Lanes that take new requests, in turn by request number (as data-parallel front ends do)."""
    targets = {lane.next_lane for lane in lanes}
    entries = [index for index in range(len(lanes)) if index not in targets]
    return entries[sequence.request % len(entries)]
