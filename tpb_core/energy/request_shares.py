"""Shares of a phase: which part of a domain's prefill, decode or idle energy goes to which request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tpb_core.energy.figures import Figure
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.step_scatter import StepScatter
from tpb_core.energy.timeline import State, Timeline

if TYPE_CHECKING:
    from tpb_core.api import StepMembers, Window

MOST_MEMBERS = 500_000
"""Members are split in pieces of about so many, to bound memory."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Costs = tuple[float, float, float, float]
"""What a token, a KV position read, a query-key pair, and a token beside each token of its step cost, in any unit."""
BY_TOKENS: Costs = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Within:
    """The two kinds of steps of a phase apart: shares of the energy of its pure steps and of its part of mixed ones, nobody's last.

    `figure` is that of the pure steps; what the phase has beside it comes from mixed ones.
    """

    pure: Floats
    mixed: Floats
    figure: Figure


@dataclass(frozen=True)
class Shares:
    """`share` of each request row, and of nobody (`rest`); they add up to 1.

    `own`: sum over steps of the square of a request's share in each of them. What scatters from step to step by a share of its energy
    scatters a request by the root of that; `scatter` is how much it is.
    `spread`: standard uncertainty of each share with `spread_dof` degrees of freedom, from how far other cost models differ that explain
    the readings about as well.
    """

    share: Floats
    rest: float
    own: Floats
    scatter: StepScatter | None = None
    spread: Floats | None = None
    spread_dof: float | None = None
    within: Within | None = None


@dataclass(frozen=True)
class Roster:
    """The requests of a run: their ordinals in order, and when they were resident (submitted or queued, until finished)."""

    request: Ints
    from_s: Floats
    to_s: Floats

    def rows_of(self, request: npt.NDArray[np.int32]) -> Ints:
        """Row of each ordinal; -1 where the run has no such request."""
        if len(self.request) == 0:
            return np.full(len(request), -1, np.int64)
        if int(self.request[-1]) == len(self.request) - 1 and self.request[0] == 0:  # ordinals without gaps are their own rows
            return np.where((request >= 0) & (request < len(self.request)), request, -1).astype(np.int64)
        row = np.clip(np.searchsorted(self.request, request), 0, len(self.request) - 1)
        return np.where(self.request[row] == request, row, -1)


def roster_of(energy: RunEnergy) -> Roster:
    """Residence of every request; one without an end stays until the run's last window ends, one that was never sent has none."""
    table = energy.run.columns("requests")
    if table is None:
        return Roster(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    ordinal = table["request"].values.astype(np.int64)
    last_ns = max((window.t1_ns for window in energy.run.windows), default=energy.origin_ns)
    start, stop = np.full(len(ordinal), np.inf), np.full(len(ordinal), (last_ns - energy.origin_ns) / 1e9)
    for name in ("engine_queued_ns", "engine_started_ns", "submitted_ns"):
        if name in table:
            known = table[name].valid
            start[known] = np.minimum(start[known], (table[name].values[known].astype(np.int64) - energy.origin_ns) / 1e9)
    if "finished_ns" in table:
        known = table["finished_ns"].valid
        stop[known] = (table["finished_ns"].values[known].astype(np.int64) - energy.origin_ns) / 1e9
    sent = np.isfinite(start)
    start = np.where(sent, start, stop)
    return Roster(ordinal, start, np.maximum(stop, start))


def step_seconds(energy: RunEnergy, domain: str, window: Window, state: State) -> Floats:
    """Seconds of each step in a window during which a domain is in a state, divided by the steps that share them."""
    activity, timeline = energy.activity, energy.timeline(domain)
    t0_s, t1_s = energy.bounds_s(window)
    kind = activity.kind == state
    instances = energy.instances(domain)
    if instances is not None:
        kind &= np.isin(activity.instance, list(instances))
    rows = np.flatnonzero(kind & (activity.t1_s > t0_s) & (activity.t0_s < t1_s))
    seconds = np.zeros(len(activity.t0_s))
    ends = np.clip(np.concatenate([activity.t0_s[rows], activity.t1_s[rows]]), t0_s, t1_s)
    upto = timeline.cumulative(state, ends, shared=True)
    seconds[rows] = upto[len(rows) :] - upto[: len(rows)]
    return seconds


def shares_by_tokens(energy: RunEnergy, roster: Roster, weight: Floats, state: State) -> Shares:
    """Split steps of the given weights (seconds or joules, one a step) among their members by prefill or decode tokens."""
    return shares_by_members(energy, roster, weight[:, None], state, [BY_TOKENS])[0]


def shares_by_members(
    energy: RunEnergy, roster: Roster, weights: Floats, state: State, costs: Sequence[Costs], squared: int | None = None
) -> list[Shares]:
    """Split steps among their members by what their own work costs; one answer for each column of `weights` and its `costs`.

    Where none of these costs anything, tokens decide. Columns of equal costs are best next to one another. `own` is worked out for the
    first `squared` columns (default all) and 0 in the others.
    """
    members = energy.activity.members
    size, totals = len(roster.request), weights.sum(axis=0)
    nothing = Shares(np.zeros(size), 1.0, np.zeros(size))
    used = np.flatnonzero(weights.max(axis=1) > 0) if len(weights) else np.zeros(0, np.int64)
    if members is None or len(used) == 0:
        return [nothing for _ in totals]
    scaled = weights / np.where(totals > 0, totals, 1.0)
    share, own, rest = np.zeros((len(totals), size)), np.zeros((len(totals), size)), np.zeros(len(totals))
    counts = np.diff(members.offsets)[used]
    for chunk in np.array_split(used, max(int(counts.sum()) // MOST_MEMBERS, 1)):
        working = _working(members, roster, chunk, state)
        parts: dict[Costs, tuple[Floats, npt.NDArray[np.bool_]]] = {}
        for k, cost in enumerate(costs):
            if cost not in parts:
                parts = {cost: working.parts(cost, members.known[chunk])}
            part, split = parts[cost]
            joules = part * scaled[chunk, k][working.step]
            if size:
                share[k] += np.bincount(working.row, joules, minlength=size)
                own[k] += np.bincount(working.row, joules**2, minlength=size) if squared is None or k < squared else 0.0
            rest[k] += float(scaled[chunk, k][~split].sum())
    return [Shares(share[k], float(rest[k]), own[k]) if totals[k] > 0 else nothing for k in range(len(totals))]


@dataclass(frozen=True)
class _Working:
    """Members of some steps that do work of one phase: the step's place, the request's row, tokens and KV positions."""

    steps: int
    step: Ints
    row: Ints
    tokens: Floats
    held: Floats

    def parts(self, costs: Costs, known: npt.NDArray[np.bool_]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Each member's part of its step, and which steps are split at all: those whose members are `known`."""
        token_cost, kv_cost, pair_cost, square_cost = costs
        cost = token_cost * self.tokens
        if square_cost:
            cost = cost + square_cost * self.tokens * np.bincount(self.step, self.tokens, minlength=self.steps)[self.step]
        if kv_cost or pair_cost:
            cost = cost + kv_cost * self.held + pair_cost * self.tokens * (self.held + (self.tokens + 1) / 2)
        sums = np.bincount(self.step, cost, minlength=self.steps)
        if (sums <= 0).any():
            cost = np.where((sums <= 0)[self.step], self.tokens, cost)
            sums = np.bincount(self.step, cost, minlength=self.steps)
        split = (sums > 0) & known
        return cost * np.where(split, 1 / np.maximum(sums, 1e-300), 0.0)[self.step], split


def _working(members: StepMembers, roster: Roster, chunk: Ints, state: State) -> _Working:
    first, count = members.offsets[chunk], np.diff(members.offsets)[chunk]
    flat = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
    tokens = (members.prefill_tokens if state == State.PREFILL else members.decode_tokens)[flat]
    row = roster.rows_of(members.request[flat])
    chosen = np.flatnonzero((tokens > 0) & (row >= 0))
    step = np.repeat(np.arange(len(chunk)), count)[chosen]
    held = members.kv_tokens[flat[chosen]].astype(np.float64)
    return _Working(len(chunk), step, row[chosen], tokens[chosen].astype(np.float64), held)


def shares_by_residence(energy: RunEnergy, roster: Roster, timeline: Timeline, window: Window) -> Shares:
    """Split a domain's idle time among the requests resident in it, equally at each instant; nobody's is the rest."""
    t0_s, t1_s = energy.bounds_s(window)
    size = len(roster.request)
    idle_s = timeline.seconds(State.IDLE, t0_s, t1_s)
    if idle_s <= 0:
        return Shares(np.zeros(size), 1.0, np.zeros(size))
    start, stop = np.clip(roster.from_s, t0_s, t1_s), np.clip(roster.to_s, t0_s, t1_s)
    inner = timeline.edge_s[(timeline.edge_s > t0_s) & (timeline.edge_s < t1_s)]
    edge = np.unique(np.concatenate([[t0_s, t1_s], start, stop, inner]))
    place = np.searchsorted(edge, np.concatenate([start, stop]))
    change = np.bincount(place[:size], minlength=len(edge)) - np.bincount(place[size:], minlength=len(edge))
    resident = np.cumsum(change)[:-1]
    middle = (edge[1:] + edge[:-1]) / 2
    row = np.searchsorted(timeline.edge_s, middle, "right") - 1
    inside = (row >= 0) & (row < len(timeline.state))
    if len(timeline.state):
        busy = inside & (timeline.state[np.clip(row, 0, len(timeline.state) - 1)] != State.IDLE)
    else:
        busy = np.zeros(len(middle), np.bool_)
    length = np.where(busy, 0.0, np.diff(edge))
    each = np.concatenate([[0.0], np.cumsum(np.where(resident > 0, length / np.maximum(resident, 1), 0.0))])
    share = (each[place[size:]] - each[place[:size]]) / idle_s
    return Shares(share, float(max(1.0 - share.sum(), 0.0)), np.zeros(size))
