"""What a channel reads while nothing runs: its mean power, and how far single readings scatter about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tpb_core.energy.covariance import noise_of, second_differences
from tpb_core.energy.observations import Observations

LEAST_SEEN = 0.5
"""Least share of an idle window in which there were readings."""
LEAST_DIFFERENCES = 6


@dataclass(frozen=True)
class AtRest:
    """Mean power of the idle windows, and standard deviation of single readings there (None: too few readings tell), watts.

    Nothing runs, so what scatters there is the sensor, not the load.
    """

    watts: float
    noise_w: float | None

    def noise_at(self, watts: float) -> float | None:
        """Reading noise at another power, as if it grew with the power."""
        return None if self.noise_w is None else self.noise_w * max(watts / max(self.watts, 1e-9), 1.0)


def at_rest(observations: Observations, spans_s: Sequence[tuple[float, float]]) -> AtRest | None:
    """A plain mean over idle windows (a rough guide, not a figure), and the noise of readings wholly inside them; None without any."""
    powers, differences = [], [np.zeros(0)]
    for t0_s, t1_s in spans_s:
        seen_s = float(observations.overlap_s(t0_s, t1_s).sum()) if len(observations) else 0.0
        if seen_s <= LEAST_SEEN * (t1_s - t0_s):
            continue
        powers.append(observations.energy_between(t0_s, t1_s) / seen_s)
        inside = (observations.lo_s >= t0_s) & (observations.hi_s <= t1_s)
        differences.append(second_differences(observations.mean_w[inside], observations.good[inside]))
    if not powers:
        return None
    second = np.concatenate(differences)
    # Of m differences, the median tells the noise to about one part in the root of m: taken on the safe side.
    noise_w = noise_of(second) * (1 + 1 / float(np.sqrt(len(second)))) if len(second) >= LEAST_DIFFERENCES else None
    return AtRest(float(np.mean(powers)), noise_w)
