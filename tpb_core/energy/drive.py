"""What a sensor is made to follow: a load that is switched, or the power that a faster sensor saw; and what it would read of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tpb_core.energy.observations import Observations

Floats = npt.NDArray[np.float64]

NODES = 5
"""Points at which a smeared stamp is evaluated."""
LEAST_S = 1e-6


@dataclass(frozen=True)
class Drive:
    """Piecewise constant: `level[k]` up to `edge_s[k]`, `level[-1]` after the last edge. m edges in seconds, m + 1 levels."""

    edge_s: Floats
    level: Floats

    @cached_property
    def _sums(self) -> Floats:
        """Integral up to each edge."""
        return np.concatenate([[0.0], np.cumsum(self.level[1:-1] * np.diff(self.edge_s))])

    @classmethod
    def of_switching(cls, edge_s: Floats, *, on_first: bool = False) -> Drive:
        """A load that each edge turns on or off."""
        level = (np.arange(len(edge_s) + 1) + int(on_first)) % 2
        return cls(np.asarray(edge_s, np.float64), level.astype(np.float64))

    @classmethod
    def of_observations(cls, seen: Observations) -> Drive:
        """The power that a faster channel saw, cell by cell."""
        edges = np.concatenate([seen.cell_lo_s, seen.cell_hi_s[-1:]])
        return cls(edges, np.concatenate([seen.mean_w[:1], seen.mean_w, seen.mean_w[-1:]]))

    def integral(self, t_s: Floats, rise_s: float = 0.0) -> Floats:
        """Integral from the first edge up to each time. With `rise_s` the signal follows its edges with that time constant.

        First-order lag: rise * y' = x - y, so that the integral of y is that of x minus rise * (y(t) - y(first edge)).
        """
        edges, level = self.edge_s, self.level
        last = np.clip(np.searchsorted(edges, t_s, "right") - 1, 0, len(edges) - 1)
        since = t_s - edges[last]
        plain = np.where(since < 0, since * level[0], self._sums[last] + since * level[last + 1])
        if rise_s <= LEAST_S:
            return np.asarray(plain)
        at_edges = np.empty(len(edges))
        value = at_edges[0] = float(level[0])
        for k, decay in enumerate(np.exp(-np.diff(edges) / rise_s), start=1):
            value = at_edges[k] = level[k] + (value - level[k]) * decay
        target = level[last + 1]
        now = np.where(since < 0, level[0], target + (at_edges[last] - target) * np.exp(-np.maximum(since, 0.0) / rise_s))
        return np.asarray(plain - rise_s * (now - level[0]))

    def mean(self, lo_s: Floats, hi_s: Floats, rise_s: float = 0.0, smear_s: Floats | None = None) -> Floats:
        """Mean over each stretch `[lo, hi]`; `smear_s` is the full width within which both ends of a stretch are uncertain together."""
        width = np.maximum(hi_s - lo_s, LEAST_S)
        places = np.zeros(1) if smear_s is None else (np.arange(NODES) + 0.5) / NODES - 0.5
        ends = hi_s[None, :] + places[:, None] * (0.0 if smear_s is None else smear_s[None, :])
        upto = self.integral(np.stack([ends, ends - width]).ravel(), rise_s).reshape(2, len(places), -1)
        return np.asarray((upto[0] - upto[1]).mean(axis=0) / width)
