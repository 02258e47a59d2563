"""Watts for CPU seconds: a span of what is on the market, or the model that the user declares. Never a default point value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tpb_core.api import BadInput

SPAN_LOW_W = 2.0
SPAN_HIGH_W = 15.0
SPAN_SOURCE = (
    "rated power over number of cores, from Ampere Altra Max M128-30 (250 W / 128 cores) to AMD Ryzen 7 9800X3D (120 W / 8 cores); "
    "a span of parts on the market, not a confidence interval; without memory, fans and idle power"
)


@dataclass(frozen=True)
class Span:
    """Watts of one busy core, from and to, and where that comes from."""

    low_w: float
    high_w: float
    source: str

    @classmethod
    def of_options(cls, low_w: float, high_w: float) -> Span:
        """The configured span. Raises BadInput unless 0 < low <= high."""
        if not (math.isfinite(low_w) and math.isfinite(high_w) and 0 < low_w <= high_w):
            raise BadInput(
                f"the span of watts per busy core, {low_w:g} to {high_w:g}, is not one",
                "Give 0 < meter.estimate.span_low_w <= meter.estimate.span_high_w.",
            )
        default = (low_w, high_w) == (SPAN_LOW_W, SPAN_HIGH_W)
        return cls(low_w, high_w, SPAN_SOURCE if default else "declared by the user (meter.estimate.span_low_w, span_high_w)")

    def extensions(self) -> dict[str, object]:
        """Channel extensions by which attributors know the span."""
        return {"x_span_w_per_core_low": self.low_w, "x_span_w_per_core_high": self.high_w, "x_span_source": self.source}


@dataclass(frozen=True)
class DeclaredModel:
    """Power = idle_w + w_per_core x busy cores, both declared by the user."""

    w_per_core: float
    idle_w: float

    @classmethod
    def of_options(cls, w_per_core: float | None, idle_w: float | None) -> DeclaredModel | None:
        """The declared model; None when there is none. Raises BadInput for watts that cannot be, and for idle watts alone."""
        if w_per_core is None:
            if idle_w is not None:
                raise BadInput("meter.estimate.idle_w alone is no power model", "Give meter.estimate.w_per_core= as well.")
            return None
        for name, watts in (("w_per_core", w_per_core), ("idle_w", idle_w or 0.0)):
            if not math.isfinite(watts) or watts < 0 or (name == "w_per_core" and watts == 0):
                raise BadInput(f"meter.estimate.{name}={watts:g} is not a power", "Give watts, for example meter.estimate.w_per_core=6.")
        return cls(w_per_core, idle_w or 0.0)

    def joules(self, seconds: float, cpu_seconds: float) -> float:
        """Energy over `seconds` in which `cpu_seconds` of CPU time were used."""
        return self.idle_w * seconds + self.w_per_core * cpu_seconds
