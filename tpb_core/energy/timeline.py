"""The timeline of a domain: at each instant, what runs on it (prefill, decode, both, something else, nothing)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class State(IntEnum):
    """What runs on a domain. `MIXED`: prefill and decode at once; `OTHER`: a step that computed neither."""

    IDLE = 0
    PREFILL = 1
    DECODE = 2
    MIXED = 3
    OTHER = 4


BUSY = (State.PREFILL, State.DECODE, State.MIXED, State.OTHER)


@dataclass(frozen=True)
class Timeline:
    """Piecewise-constant states: `state[k]` holds on `[edge_s[k], edge_s[k + 1])`; before and after, the domain is idle.

    `active[k]` is the number of steps that run at once (of different instances), 0 when idle.
    """

    edge_s: Floats
    state: npt.NDArray[np.int8]
    active: npt.NDArray[np.int32]

    def seconds(self, state: State, t0_s: float, t1_s: float) -> float:
        """Time in a state within a window."""
        busy = {s: float(np.diff(self.cumulative(s, np.array([t0_s, t1_s])))[0]) for s in State if s != State.IDLE}
        return max(t1_s - t0_s - sum(busy.values()), 0.0) if state == State.IDLE else busy[state]

    def cumulative(self, state: State, t_s: Floats, *, shared: bool = False) -> Floats:
        """Seconds spent in a busy state up to each time; with `shared`, each second divided by the number of steps that run at once."""
        if len(self.state) == 0:
            return np.zeros_like(t_s)
        weight = (self.state == state).astype(np.float64)
        if shared:
            weight = weight / np.maximum(self.active, 1)
        total = np.concatenate([[0.0], np.cumsum(weight * np.diff(self.edge_s))])
        return np.asarray(np.interp(t_s, self.edge_s, total))

    def states_within(self, t0_s: float, t1_s: float) -> list[State]:
        """The busy states that occur in a window, in order of their number."""
        start = int(np.searchsorted(self.edge_s, t0_s, "right")) - 1
        stop = int(np.searchsorted(self.edge_s, t1_s, "left"))
        present = np.unique(self.state[max(start, 0) : max(stop, 0)])
        return [State(int(s)) for s in present if s != State.IDLE]


NOTHING = Timeline(np.zeros(0), np.zeros(0, np.int8), np.zeros(0, np.int32))
"""A timeline on which nothing runs."""


def kinds_of(prefill_tokens: npt.NDArray[np.integer], decode_tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int8]:
    """The state that each step means by itself."""
    prefill, decode = prefill_tokens > 0, decode_tokens > 0
    return np.select([prefill & decode, prefill, decode], [State.MIXED, State.PREFILL, State.DECODE], State.OTHER).astype(np.int8)


def timeline_of(t0_s: Floats, t1_s: Floats, kind: npt.NDArray[np.int8]) -> Timeline:
    """Join steps of one or several instances. Where steps of different instances overlap, time is counted once.

    Prefill beside decode is `MIXED`; a step of kind `OTHER` beside another counts as the other.
    """
    keep = t1_s > t0_s
    t0_s, t1_s, kind = t0_s[keep], t1_s[keep], kind[keep]
    if len(t0_s) == 0:
        return NOTHING
    edge_s, place = np.unique(np.concatenate([t0_s, t1_s]), return_inverse=True)
    start, stop = place[: len(t0_s)], place[len(t0_s) :]
    size = len(edge_s)

    def running(mask: npt.NDArray[np.bool_]) -> Ints:
        change = np.bincount(start[mask], minlength=size) - np.bincount(stop[mask], minlength=size)
        return np.cumsum(change)[:-1]

    prefill, decode = running(kind == State.PREFILL), running(kind == State.DECODE)
    mixed, other = running(kind == State.MIXED), running(kind == State.OTHER)
    state = np.select(
        [(mixed > 0) | ((prefill > 0) & (decode > 0)), prefill > 0, decode > 0, other > 0],
        [State.MIXED, State.PREFILL, State.DECODE, State.OTHER],
        State.IDLE,
    ).astype(np.int8)
    return Timeline(edge_s, state, (prefill + decode + mixed + other).astype(np.int32))
