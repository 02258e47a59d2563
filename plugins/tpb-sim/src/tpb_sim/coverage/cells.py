"""One stated cell a world: whose figure is held against the truth in continuous integration, chosen before any result was seen."""

from __future__ import annotations

from typing import NamedTuple

UNSEEN = "too wide: 100 ms polls of a 101 ms refresh leave open which quarter of the time was seen"
NOISE = "too wide: under load, noise of readings cannot be told from power that fluctuates"
WIDE = "a little too wide: 98.9 % of 1,600 seeds; the cause is not found"


class Cell(NamedTuple):
    """A figure of a method of an attributor in a world. `method` is a prefix: `steps` also holds for `steps/shapley`.

    `known`: why its intervals are known to hold more or less often than they should; such a breach is shown and is no failure.
    """

    world: str
    attributor: str
    method: str
    figure: str
    known: str = ""


CELLS = (
    Cell("single_stream", "windowed", "windowed", "prefill"),
    Cell("static_batch", "windowed", "windowed", "prefill"),
    Cell("poisson_low", "steps", "steps/shapley", "prefill"),
    Cell("poisson_middle", "steps", "steps/shapley", "decode"),
    Cell("poisson_saturating", "steps", "steps/shapley", "prefill"),
    Cell("long_context", "steps", "steps/shapley", "prefill"),
    Cell("duty_cycle", "windowed", "windowed", "decode", UNSEEN),
    Cell("poisson_duty_cycle", "totals", "totals", "total", UNSEEN),
    Cell("average_1s", "totals", "totals", "total"),
    Cell("node_1hz", "totals", "totals", "total"),
    Cell("counter_reset", "totals", "totals", "total"),
    Cell("counter_wrap", "totals", "totals", "total"),
    Cell("gaps", "totals", "totals", "total", NOISE),
    Cell("noisy", "windowed", "windowed", "prefill"),
    Cell("two_gains", "steps", "steps/shapley", "decode"),
    Cell("pipeline", "steps", "steps/shapley", "decode"),
    Cell("disaggregated", "steps", "steps/shapley", "prefill"),
    Cell("speculative", "steps", "steps/shapley", "decode"),
    Cell("draft_model", "steps", "steps/shapley", "prefill", WIDE),
    Cell("preemption", "steps", "steps/shapley", "prefill"),
    Cell("asynchronous", "steps", "steps/shapley", "prefill"),
    Cell("cancelled", "steps", "steps/shapley", "request"),
    Cell("static_batch:roofline", "windowed", "windowed", "prefill"),
    Cell("static_batch:warming", "windowed", "windowed", "decode"),
    Cell("poisson_middle:roofline", "steps", "steps/shapley", "prefill"),
    Cell("poisson_middle:attention", "steps", "steps/shapley", "prefill"),
    Cell("poisson_middle:power_cap", "steps", "steps/shapley", "prefill"),
    Cell("poisson_middle:experts", "steps", "steps/shapley", "decode"),
    Cell("poisson_middle:warming", "steps", "steps/shapley", "decode"),
    Cell("long_context:attention", "steps", "steps/shapley", "prefill"),
)
"""Worlds whose physics is the fitted one, and the five outside that family."""
