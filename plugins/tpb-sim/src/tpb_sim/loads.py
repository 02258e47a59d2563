"""Loads of in-memory runs: how long prompts and answers are, and when requests arrive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Lengths:
    """Token counts: a mixture of uniform ranges, each `(weight, least, most)`, both ends included."""

    parts: tuple[tuple[float, int, int], ...] = ((1.0, 100, 300),)

    def draw(self, count: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """`count` lengths."""
        weights = np.array([part[0] for part in self.parts])
        chosen = random.choice(len(self.parts), size=count, p=weights / weights.sum())
        least, most = (np.array([part[place] for part in self.parts])[chosen] for place in (1, 2))
        return random.integers(least, most, endpoint=True)


@dataclass(frozen=True)
class Load:
    """What is sent. `shape`: `static` (one batch after the other), `single` (one request at a time), `closed`, `offline` or `poisson`."""

    shape: str = "static"
    requests: int = 32
    batch_size: int = 4
    concurrency: int = 8
    rate_per_s: float = 2.0
    input_tokens: Lengths = Lengths()
    output_tokens: Lengths = Lengths(((1.0, 64, 64),))
    cached_share: float = 0.0
    """Share of requests of whose prompt the first half is cached."""
    cancelled_share: float = 0.0
    """Share of requests that are cancelled a little after they arrive."""

    def first(self) -> int:
        """How many requests are sent at the start, where the shape is not `poisson`."""
        sizes = {"static": self.batch_size, "single": 1, "closed": self.concurrency, "offline": self.requests}
        if self.shape not in sizes:
            raise ValueError(f"there is no load shape {self.shape!r}")
        return min(sizes[self.shape], self.requests)

    def arrivals_ns(self, begin_ns: int, random: np.random.Generator) -> tuple[list[int], int]:
        """Times at which a Poisson process sends its requests, the first at `begin_ns`, and where its last interval ends."""
        gaps = random.exponential(1.0 / self.rate_per_s, self.requests)
        edges = begin_ns + np.concatenate([[0], np.cumsum(np.round(gaps * 1e9))]).astype(np.int64)
        return edges[:-1].tolist(), int(edges[-1])
