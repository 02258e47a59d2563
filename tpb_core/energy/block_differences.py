"""Differences of neighbouring blocks of readings, beside what they would be if every step scattered by all of itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.energy.steps_said import Steps

Floats = npt.NDArray[np.float64]

MOST_OFFSETS = 4
SHORTEST_S = 1e-12
A_DIFFERENCE = 2 / 3
"""Degrees of freedom for each difference of neighbours, which overlap."""


class Said:
    """How many joules each reading says of each step that it looked at: for one of `reading`, `step` and `joules` each."""

    def __init__(self, steps: Steps, lo_s: Floats, hi_s: Floats, cell_s: Floats) -> None:
        begin = np.searchsorted(np.maximum.accumulate(steps.t1_s), lo_s, "right") if len(steps.t1_s) else np.zeros(len(lo_s), np.int64)
        count = np.maximum(np.searchsorted(steps.t0_s, hi_s, "left") - begin, 0)
        self.reading = np.repeat(np.arange(len(lo_s)), count)
        self.step = np.repeat(begin - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        t0_s, t1_s = steps.t0_s[self.step], steps.t1_s[self.step]
        seconds = np.maximum(np.minimum(hi_s[self.reading], t1_s) - np.maximum(lo_s[self.reading], t0_s), 0.0)
        self.joules = (cell_s / np.maximum(hi_s - lo_s, SHORTEST_S))[self.reading] * seconds * steps.power_w[self.step]


@dataclass(frozen=True)
class Differences:
    """Squared differences of neighbouring blocks, J^2; `expected`: what they would be on average if steps scattered by all of themselves;
    `elsewhere`: what they would have changed had readings looked elsewhere.
    """

    squared: Floats
    expected: Floats
    elsewhere: Floats
    offsets: int

    def __len__(self) -> int:
        return len(self.squared) // self.offsets

    @property
    def dof(self) -> float:
        """As many as there are differences that count; a few may hold most of what is expected."""
        squares = float((self.expected**2).sum())
        count = float(self.expected.sum()) ** 2 / squares / self.offsets if squares > 0 else 1.0
        return max(A_DIFFERENCE * count, 1.0)

    @property
    def error(self) -> float:
        """Standard error of the mean of the squares."""
        return float(self.squared.mean()) * float(np.sqrt(2 / self.dof)) if len(self.squared) else 0.0

    @property
    def ratio(self) -> float:
        """Mean square over what is expected."""
        expected = float(self.expected.sum())
        return float(self.squared.sum()) / expected if expected > 0 else 0.0


def differences(energy_j: Floats, good: npt.NDArray[np.bool_], said: Said, block: int, elsewhere_j2: Floats | None = None) -> Differences:
    """Of blocks of so many readings, beginning at up to `MOST_OFFSETS` places; blocks with holes are left out."""
    squared: list[Floats] = [np.zeros(0)]
    expected: list[Floats] = [np.zeros(0)]
    elsewhere: list[Floats] = [np.zeros(0)]
    moved_j2 = np.zeros(len(energy_j)) if elsewhere_j2 is None else elsewhere_j2
    offsets = np.unique(np.linspace(0, block, min(block, MOST_OFFSETS), endpoint=False).astype(np.int64))
    for offset in offsets:
        count = (len(energy_j) - offset) // block
        if count < 2:
            continue
        whole = slice(offset, offset + count * block)
        sums = energy_j[whole].reshape(count, block).sum(axis=1)
        whole_blocks = np.asarray(good[whole].reshape(count, block).all(axis=1))
        usable = whole_blocks[1:] & whole_blocks[:-1]
        place = (said.reading - offset) // block
        inside = np.flatnonzero((said.reading >= offset) & (place < count))
        key, which = np.unique(said.step[inside] * count + place[inside], return_inverse=True)
        joules = np.bincount(which, said.joules[inside], minlength=len(key))
        step, place = key // count, key % count
        square = np.bincount(place, joules**2, minlength=count)
        both = np.flatnonzero((step[1:] == step[:-1]) & (place[1:] == place[:-1] + 1))
        shared = np.bincount(place[both], joules[both] * joules[both + 1], minlength=count)[: count - 1]
        squared.append((np.diff(sums) ** 2)[usable])
        expected.append(np.asarray(square[1:] + square[:-1] - 2 * shared, np.float64)[usable])
        moved = np.asarray(moved_j2[whole].reshape(count, block).sum(axis=1))
        elsewhere.append(np.asarray(moved[1:] + moved[:-1])[usable])
    return Differences(np.concatenate(squared), np.concatenate(expected), np.concatenate(elsewhere), len(offsets))
