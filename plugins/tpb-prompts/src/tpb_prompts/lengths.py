"""Lengths in tokens: a fixed number, or drawn from a distribution between two bounds."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from statistics import NormalDist

from tpb_core.api import BadInput

DISTRIBUTIONS = ("fixed", "uniform", "normal", "lognormal")


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths in tokens. `mean` and `sd` are those before it is cut off at `low` and `high` (inclusive)."""

    what: str
    """The prefix of the options that it was made from (`input`, `output`), for messages."""
    distribution: str
    mean: int
    sd: float
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise BadInput(
                f"prompts.{self.what}_distribution={self.distribution} is not known.", f"It is one of: {', '.join(DISTRIBUTIONS)}"
            )
        if self.mean < 1:
            raise BadInput(f"prompts.{self.what}_tokens={self.mean} is too small.", "Give at least 1 token.")
        if self.distribution == "fixed":
            return
        if not 1 <= self.low <= self.high:
            raise BadInput(
                f"prompts.{self.what}_min_tokens={self.low} and prompts.{self.what}_max_tokens={self.high} leave no length.",
                "Give 1 <= minimum <= maximum.",
            )
        if self.distribution == "uniform":
            return
        if not self.low <= self.mean <= self.high:
            raise BadInput(
                f"prompts.{self.what}_tokens={self.mean} lies outside of {self.low} to {self.high}.",
                f"Move prompts.{self.what}_min_tokens or prompts.{self.what}_max_tokens.",
            )
        if not (math.isfinite(self.sd) and self.sd > 0):
            raise BadInput(
                f"prompts.{self.what}_sd_tokens={self.sd} is not a spread.", "Give a positive number of tokens, or distribution fixed."
            )

    @property
    def longest(self) -> int:
        """The longest length that can be drawn."""
        return self.mean if self.distribution == "fixed" else self.high

    def draw(self, rng: random.Random) -> int:
        """One length. Truncated distributions are drawn through the inverse of the distribution function: one random number each."""
        if self.distribution == "fixed":
            return self.mean
        if self.distribution == "uniform":
            return rng.randint(self.low, self.high)
        log = self.distribution == "lognormal"
        if log:  # moments of the lognormal: sigma^2 = ln(1 + sd^2 / mean^2), mu = ln(mean) - sigma^2 / 2
            variance = math.log1p((self.sd / self.mean) ** 2)
            normal = NormalDist(math.log(self.mean) - variance / 2, math.sqrt(variance))
        else:
            normal = NormalDist(self.mean, self.sd)
        low, high = self.low - 0.5, self.high + 0.5
        at_low, at_high = (normal.cdf(math.log(low)), normal.cdf(math.log(high))) if log else (normal.cdf(low), normal.cdf(high))
        # open interval: inv_cdf is not defined at 0 and 1
        u = min(max(at_low + (at_high - at_low) * rng.random(), 1e-15), 1 - 1e-15)
        value = normal.inv_cdf(u)
        return min(max(round(math.exp(min(value, 700.0)) if log else value), self.low), self.high)
