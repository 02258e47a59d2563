"""The work of steps as arrays: tokens, contexts and durations, of the whole step and of either part alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tpb_core.energy.activity import Activity
from tpb_core.energy.timeline import Timeline

if TYPE_CHECKING:
    from tpb_core.api import RunView

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """n steps (or parts of them): computed tokens with padding, KV lengths read, query-key pairs of prefill, seconds.

    `draft` is 1 for steps of a draft model beside the served one, else 0: their tokens and contexts cost something else.
    """

    prefill: Floats
    decode: Floats
    kv: Floats
    prefill_kv: Floats
    pairs: Floats
    seconds: Floats
    draft: Floats

    def __len__(self) -> int:
        return len(self.seconds)

    def rows(self, chosen: Any) -> Work:
        """Some of the steps."""
        return Work(*(getattr(self, name)[chosen] for name in FIELDS))

    def prefill_alone(self, seconds: Floats) -> Work:
        """What the steps would be without their decode part, taking `seconds`."""
        nothing = np.zeros_like(self.seconds)
        return Work(self.prefill, nothing, nothing, self.prefill_kv, self.pairs, seconds, self.draft)

    def decode_alone(self, seconds: Floats) -> Work:
        """What the steps would be without their prefill part, taking `seconds`."""
        nothing = np.zeros_like(self.seconds)
        return Work(nothing, self.decode, self.kv, nothing, nothing, seconds, self.draft)

    def as_served(self) -> Work:
        """The same work, taken for the served model's."""
        return replace(self, draft=np.zeros_like(self.draft))


FIELDS = ("prefill", "decode", "kv", "prefill_kv", "pairs", "seconds", "draft")
Term = Callable[[Work], Floats]


def _served(term: Term) -> Term:
    return lambda work: term(work) * (1.0 - work.draft)


def _drafted(term: Term) -> Term:
    return lambda work: term(work) * work.draft


TIME = "time"
_TERMS: dict[str, Term] = {
    "busy": lambda work: (work.seconds > 0).astype(np.float64),
    "prefill": lambda work: work.prefill,
    "decode": lambda work: work.decode,
    "kv": lambda work: work.kv,
    "prefill_kv": lambda work: work.prefill_kv,
    "pairs": lambda work: work.pairs,
    "prefill_time": lambda work: work.seconds * (work.prefill > 0),
    "touched": lambda work: 1.0 - np.exp(-(work.prefill + work.decode) / TOUCHED_TOKENS),
    "prefill_squared": lambda work: work.prefill**2,
    "decode_squared": lambda work: work.decode**2,
}
_OF_DRAFTS = {f"draft_{name}": _TERMS[name] for name in ("busy", "prefill", "decode", "kv")}
TERMS: dict[str, Term] = {
    TIME: lambda work: work.seconds,
    **{name: _served(term) for name, term in _TERMS.items()},
    **{name: _drafted(term) for name, term in _OF_DRAFTS.items()},
}
"""What energy and duration of a step are made of. Time counts in every step, `draft_*` in those of a draft model, the rest in all others.

`touched`: weights of experts that at least one of the tokens chose.
"""

TOUCHED_TOKENS = 16.0
BASE = (TIME, "busy", "prefill", "decode", "kv", "prefill_kv")
DRAFT = tuple(_OF_DRAFTS)
"""Terms of a draft model's steps: they run on the served model's devices, but a step, a token and a context cost less in them."""
RICHER = ("pairs", "prefill_time", "touched", "prefill_squared", "decode_squared")
"""Terms that are tried in addition and kept where held-out windows say that they help."""


def work_of(run: RunView, activity: Activity) -> Work:
    """The work of every step of a run, in the order of the activity. Without KV columns, members tell; without those it is 0."""
    seconds = activity.t1_s - activity.t0_s
    size = len(seconds)
    table = run.columns("steps") if not activity.inferred else None
    prefill, decode = activity.prefill_tokens.astype(np.float64), activity.decode_tokens.astype(np.float64)
    if table is not None:
        prefill = prefill + _column(table, "prefill_padding_tokens", size)
        decode = decode + _column(table, "decode_padding_tokens", size)
    kv, prefill_kv = _column(table, "kv_tokens", size), _column(table, "prefill_kv_tokens", size)
    pairs = prefill * (prefill_kv + prefill / 2)
    members = activity.members
    if members is not None and members.known.all() and not activity.inferred:
        step = np.repeat(np.arange(size, dtype=np.int32), np.diff(members.offsets))
        chosen = np.flatnonzero(members.prefill_tokens > 0)
        tokens, held = members.prefill_tokens[chosen].astype(np.float64), members.kv_tokens[chosen].astype(np.float64)
        pairs = _sum(step[chosen], tokens * (held + (tokens + 1) / 2), size)
        if table is None or "prefill_kv_tokens" not in table:
            prefill_kv = _sum(step[chosen], held, size)
        if table is None or "kv_tokens" not in table:
            decoding = np.flatnonzero(members.decode_tokens > 0)
            kv = _sum(step[decoding], members.kv_tokens[decoding].astype(np.float64), size)
    described = (run.manifest.get("engine") or {}).get("instances") or []
    drafting = [str(each["instance"]) for each in described if each.get("role") == "draft"]
    return Work(prefill, decode, kv, prefill_kv, pairs, seconds, np.isin(activity.instance, drafting).astype(np.float64))


def density(timeline: Timeline, activity: Activity, rows: npt.NDArray[np.int64], amount: Floats) -> Floats:
    """An amount of each step spread evenly over its duration, as a rate on every piece of a timeline; overlapping steps add."""
    size = len(timeline.edge_s)
    if size < 2:
        return np.zeros(max(size - 1, 0))
    t0, t1 = activity.t0_s[rows], activity.t1_s[rows]
    keep = t1 > t0
    rate = amount[keep] / (t1[keep] - t0[keep])
    start, stop = np.searchsorted(timeline.edge_s, t0[keep]), np.searchsorted(timeline.edge_s, t1[keep])
    change = np.bincount(start, rate, minlength=size) - np.bincount(stop, rate, minlength=size)
    return np.asarray(np.where(timeline.active > 0, np.cumsum(change)[:-1], 0.0))


def rows_on(activity: Activity, instances: frozenset[str] | None) -> npt.NDArray[np.int64]:
    """The steps of some instances; None: all."""
    if instances is None:
        return np.arange(len(activity.t0_s))
    return np.flatnonzero(np.isin(activity.instance, list(instances)))


def _column(table: Any, name: str, size: int) -> Floats:
    if table is None or name not in table:
        return np.zeros(size)
    return np.where(table[name].valid, table[name].values, 0).astype(np.float64)


def _sum(step: npt.NDArray[np.int32], amount: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(step, amount, minlength=size), np.float64)
