"""When a load is switched: irregular on and off for timing, steady levels for gain. Fixed by a seed, so that a run can be repeated."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

SHORTEST_S, LONGEST_S = 0.15, 3.0
LEVELS = (0.0, 0.4, 0.8, 1.0, 0.6, 0.2)
"""Up and down again, so that a warming device is not taken for a gain."""


@dataclass(frozen=True)
class Part:
    """A stretch at one level of load, 0 to 1."""

    seconds: float
    level: float


def on_and_off(total_s: float, seed: int, shortest_s: float = SHORTEST_S, longest_s: float = LONGEST_S) -> list[Part]:
    """On and off by turns, off first and last, lengths log-uniform.

    They are multiples of nothing, so that readings fall everywhere on the edges, and long ones serve slow sensors.
    """
    rng = random.Random(seed)
    parts: list[Part] = []
    left_s = total_s
    while left_s > 0 or len(parts) % 2 == 0:
        seconds = math.exp(rng.uniform(math.log(shortest_s), math.log(longest_s)))
        parts.append(Part(seconds, float(len(parts) % 2)))
        left_s -= seconds
    return parts


def steady_levels(total_s: float, rounds: int = 1) -> list[Part]:
    """Each level of `LEVELS` in turn, all equally long."""
    seconds = total_s / (rounds * len(LEVELS))
    return [Part(seconds, level) for _ in range(rounds) for level in LEVELS]
