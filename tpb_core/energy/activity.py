"""Activity: the steps of a run as arrays, which of them run on a domain, and stand-in steps for one request at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpb_core.api import Reason
from tpb_core.energy.domains import Tree
from tpb_core.energy.timeline import NOTHING, State, Timeline, kinds_of, timeline_of

if TYPE_CHECKING:
    from tpb_core.api import RunView, StepMembers

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Activity:
    """All steps in order of their start. `members` is None where the log names nobody.

    `reason` says why phases are not known; then steps still tell busy from idle where there are any.
    """

    t0_s: Floats
    t1_s: Floats
    kind: npt.NDArray[np.int8]
    instance: npt.NDArray[Any]
    prefill_tokens: npt.NDArray[np.int64]
    decode_tokens: npt.NDArray[np.int64]
    members: StepMembers | None
    reason: Reason | None = None
    inferred: bool = False

    def timeline(self, instances: frozenset[str] | None) -> Timeline:
        """The timeline of a domain on which these instances run (None: all)."""
        if instances is None or len(self.t0_s) == 0:
            return timeline_of(self.t0_s, self.t1_s, self.kind)
        mask = np.isin(self.instance, list(instances))
        return timeline_of(self.t0_s[mask], self.t1_s[mask], self.kind[mask])


def activity_of(run: RunView, origin_ns: int) -> Activity:
    """The step log; without one, the stamps of requests that came one at a time; else requests in flight, without phases."""
    steps = run.columns("steps")
    if steps is not None:
        size = len(steps["t0_ns"].values)
        t0, t1 = _seconds(steps["t0_ns"].values, origin_ns), _seconds(steps["t1_ns"].values, origin_ns)
        prefill, decode = steps["prefill_tokens"].values.astype(np.int64), steps["decode_tokens"].values.astype(np.int64)
        instance = steps["instance"].values.astype(str) if "instance" in steps else np.full(size, "")
        if size:
            return Activity(t0, t1, kinds_of(prefill, decode), instance, prefill, decode, run.step_members())
    return _from_requests(run, origin_ns)


def instances_on(run: RunView, tree: Tree, domain: str) -> frozenset[str] | None:
    """The engine instances that run on a domain: those on its own or its parts' devices; on a shared domain, those of its node.

    None: all of them.
    """
    instances = (run.manifest.get("engine") or {}).get("instances") or []
    devices = {c.device for name in (domain, *tree.descendants(domain)) for c in tree.domains[name].givers if c.device is not None}
    own = {str(i["instance"]) for i in instances if devices & set(i.get("devices") or [])}
    if own:
        return frozenset(own)
    nodes = {c.node for c in tree.domains[domain].givers} or {tree.node_of(domain)}
    here = {str(i["instance"]) for i in instances if i.get("node") in nodes}
    return frozenset(here) if here and len(here) < len(instances) else None


def _from_requests(run: RunView, origin_ns: int) -> Activity:
    nothing = np.zeros(0)
    empty = Activity(
        nothing, nothing, np.zeros(0, np.int8), np.zeros(0, "U1"), np.zeros(0, np.int64), np.zeros(0, np.int64), None, Reason.NO_STEP_LOG
    )
    requests = run.columns("requests")
    if requests is None:
        return empty
    start, started = _first_known(requests, ("engine_started_ns", "submitted_ns"), origin_ns)
    finish, finished = _first_known(requests, ("finished_ns",), origin_ns)
    first, has_first = _first_known(requests, ("first_token_ns",), origin_ns)
    flown = started & finished & (finish > start)
    if not flown.any():
        return empty
    order = np.argsort(start[flown], kind="stable")
    t0, t1, mid, has_mid = start[flown][order], finish[flown][order], first[flown][order], has_first[flown][order]
    row = np.flatnonzero(flown)[order]
    alone = bool((t0[1:] >= t1[:-1]).all())
    has_mid &= (mid >= t0) & (mid <= t1)
    if not alone or not has_mid.all():
        reason = Reason.NO_STEP_LOG if not alone else Reason.NO_TOKEN_STAMPS
        kind = np.full(len(t0), State.OTHER, np.int8)
        zeros = np.zeros(len(t0), np.int64)
        return Activity(t0, t1, kind, np.full(len(t0), ""), zeros, zeros, None, reason)
    return _one_at_a_time(requests, row, t0, mid, t1)


def _one_at_a_time(requests: Any, row: npt.NDArray[np.int64], t0: Floats, mid: Floats, t1: Floats) -> Activity:
    """Two steps a request: until its first token, and from there to its end."""
    from tpb_core.api import StepMembers

    n = len(row)
    starts, stops = np.column_stack([t0, mid]).ravel(), np.column_stack([mid, t1]).ravel()
    computed = np.maximum(_tokens(requests, "input_tokens", row) - _tokens(requests, "cached_tokens", row), 1)
    emitted = _tokens(requests, "output_tokens", row)
    later = np.maximum(emitted - 1, 0)
    zero = np.zeros(n, np.int64)
    prefill, decode = np.column_stack([computed, zero]).ravel(), np.column_stack([zero, np.maximum(later, 1)]).ravel()
    who = np.repeat(requests["request"].values[row].astype(np.int32), 2)
    members = StepMembers(
        offsets=np.arange(2 * n + 1, dtype=np.int64),
        known=np.ones(2 * n, np.bool_),
        request=who,
        prefill_tokens=prefill.astype(np.int32),
        decode_tokens=decode.astype(np.int32),
        emitted_tokens=np.column_stack([np.minimum(emitted, 1), later]).ravel().astype(np.int32),
        kv_tokens=np.zeros(2 * n, np.int32),
    )
    return Activity(starts, stops, kinds_of(prefill, decode), np.full(2 * n, ""), prefill, decode, members, None, True)


def _tokens(requests: Any, column: str, row: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if column not in requests:
        return np.zeros(len(row), np.int64)
    return np.where(requests[column].valid, requests[column].values, 0)[row].astype(np.int64)


def _first_known(table: Any, names: tuple[str, ...], origin_ns: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The first of several stamps that is not NULL, in seconds, and where there is one."""
    size = len(table["request"].values)
    values, known = np.zeros(size), np.zeros(size, np.bool_)
    for name in names:
        if name in table:
            use = table[name].valid & ~known
            values[use] = _seconds(table[name].values[use], origin_ns)
            known |= use
    return values, known


def _seconds(t_ns: npt.NDArray[Any], origin_ns: int) -> Floats:
    return np.asarray((t_ns.astype(np.int64) - origin_ns) / 1e9)


__all__ = ["NOTHING", "Activity", "activity_of", "instances_on"]
