"""What the engine did at each moment: prefill, decode, both, or nothing; from its step log, for drawing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.api.attributor import RunView

Floats = npt.NDArray[np.float64]
KINDS = ("prefill", "mixed", "decode", "idle")


@dataclass(frozen=True)
class PhaseBands:
    """Steps of all instances in seconds after the origin, by their begin; `kind` is an index of `KINDS`. Empty without a step log."""

    begin_s: Floats
    end_s: Floats
    kind: npt.NDArray[np.int8]

    @classmethod
    def of(cls, run: RunView, origin_ns: int, devices: Collection[str] = ()) -> PhaseBands:
        """Read the step log. `devices`: only instances that run on one of them; all where none of them is an instance's."""
        columns = run.columns("steps")
        if columns is None or not len(columns["t0_ns"].values):
            return cls(np.zeros(0), np.zeros(0), np.zeros(0, np.int8))
        instances = (run.manifest.get("engine") or {}).get("instances") or []
        here = [str(each.get("instance")) for each in instances if set(each.get("devices") or ()) & set(devices)]
        chosen = np.isin(columns["instance"].values.astype(str), here) if here else np.ones(len(columns["t0_ns"].values), np.bool_)
        begin = (columns["t0_ns"].values[chosen] - origin_ns) / 1e9
        end = (columns["t1_ns"].values[chosen] - origin_ns) / 1e9
        prefill, decode = columns["prefill_tokens"].values[chosen] > 0, columns["decode_tokens"].values[chosen] > 0
        kind = np.select([prefill & decode, prefill, decode], [1, 0, 2], 3).astype(np.int8)
        order = np.argsort(begin, kind="stable")
        return cls(begin[order], end[order], kind[order])

    def __len__(self) -> int:
        return len(self.begin_s)

    def spans(self, kind: str, t0_s: float, t1_s: float) -> tuple[Floats, Floats]:
        """Begins and ends of the stretches of a kind within a span, touching ones joined."""
        mask = (self.kind == KINDS.index(kind)) & (self.end_s > t0_s) & (self.begin_s < t1_s)
        begin, end = np.maximum(self.begin_s[mask], t0_s), np.minimum(self.end_s[mask], t1_s)
        if not len(begin):
            return begin, end
        reach = np.maximum.accumulate(end)
        new = np.concatenate([[True], begin[1:] > reach[:-1] + 1e-9])
        last = np.concatenate([np.flatnonzero(new)[1:] - 1, [len(begin) - 1]])
        return begin[new], reach[last]

    def shares(self, t0_s: float, t1_s: float, bins: int) -> dict[str, Floats]:
        """For each of `bins` equal parts of a span the share of its time that each kind takes; steps of instances that overlap may add up
        to more than 1, and are scaled down to it. What is left is idle."""
        edges = np.linspace(t0_s, t1_s, bins + 1)
        width = max((t1_s - t0_s) / bins, 1e-12)
        shares = {}
        for kind in KINDS[:3]:
            mask = self.kind == KINDS.index(kind)
            shares[kind] = np.diff(_time_before(self.begin_s[mask], self.end_s[mask], edges)) / width
        busy = sum(shares.values(), np.zeros(bins))
        scale = 1.0 / np.maximum(busy, 1.0)
        shares = {kind: share * scale for kind, share in shares.items()}
        return {**shares, "idle": np.maximum(0.0, 1.0 - np.minimum(busy, 1.0))}


def _time_before(begin: Floats, end: Floats, at: Floats) -> Floats:
    """Seconds of all stretches that lie before each time."""
    begins, ends = np.sort(begin), np.sort(end)
    sums_begin, sums_end = np.concatenate([[0.0], np.cumsum(begins)]), np.concatenate([[0.0], np.cumsum(ends)])
    started, ended = np.searchsorted(begins, at, "right"), np.searchsorted(ends, at, "right")
    return np.asarray((started - ended) * at - sums_begin[started] + sums_end[ended])
