"""The levels of evidence of a study and what each demands: a closed list, documented in docs/reference/validity.md.

The levels are named after what was metered; L1 to L3 mean something stricter elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("estimate", "device", "host", "wall")
"""Weakest first. `estimate` demands nothing: it is what reaches no other."""


@dataclass(frozen=True)
class Demands:
    """What a level demands: of every run a window of `seconds` (s) and `refreshes` of the slowest sensor, idle windows, a half width of
    the 95 % interval and a total standard uncertainty as shares of the energy; of the study `repeats`."""

    seconds: float
    refreshes: float
    repeats: int
    idle_windows: tuple[str, ...]
    interval: float
    u_total: float | None
    any_order: bool


DEMANDS = {
    "device": Demands(60.0, 600.0, 3, ("idle_loaded_before",), 0.05, None, True),
    "host": Demands(300.0, 0.0, 5, ("idle_loaded_before", "idle_loaded_after"), 0.05, 1.0, False),
    "wall": Demands(600.0, 0.0, 5, ("idle_loaded_before", "idle_loaded_after"), 0.05, 0.02, False),
}
IDLE_S = 60.0
"""How long an idle window must be, s."""
RANDOMISED = ("random", "abba")
"""Orders of repeats that spread drift over all points alike."""

CHECK_PREFIX = "level_"
"""The validity check of a level is `level_<name>`: what one run lacks for it, repeats aside."""
SEPARATOR = "; "
"""Between the sentences of such a check's `reason`. A sentence ends in parentheses with what this run has, where that differs by run."""
