"""The closed table of validity checks: what each asks, its limit, and whether it is a gate. The reference page is made from it.

A gate that has no answer fails. A check is a gate only where the run has what it takes to answer it: no temperature sensor, no gate.
"""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import ValidityRow


@dataclass(frozen=True)
class Check:
    """One check: `passed` is value <= limit, or value >= limit where `at_least`."""

    name: str
    asks: str
    limit: float
    unit: str
    gate: bool
    at_least: bool = False

    def row(
        self,
        value: float | None,
        *,
        window: str | None = None,
        domain: str | None = None,
        method: str | None = None,
        reason: str | None = None,
        answerable: bool = True,
        limit: float | None = None,
    ) -> ValidityRow:
        """A verdict. `answerable` False: the run lacks what the check looks at, so it is no gate. `limit` replaces the table's."""
        bound = self.limit if limit is None else limit
        passed = None if value is None else (value >= bound if self.at_least else value <= bound)
        return ValidityRow(self.name, passed, self.gate and answerable, window, domain, method, value, bound, self.unit, reason)


_ROWS = (
    Check("window_bracketed", "primary channels whose samples do not enclose the window", 0, "channels", True),
    Check("no_gap", "largest share of the window that holes of a primary channel cover", 0.01, "1", True),
    Check("expected_devices", "devices of the engine without a meter of their own, and one where nothing is metered", 0, "devices", True),
    Check("no_foreign_process", "events of processes that are not ours on a device of the run", 0, "events", True),
    Check("host_not_busy", "share of all CPUs' time that went to processes neither the engine's nor ours", 0.05, "1", True),
    Check("no_throttling", "share of the window with lowered clocks because of heat or a power brake", 0.01, "1", True),
    Check("steady_temperature", "change of a device's temperature over the window's last two thirds", 2.0, "degC/min", True),
    Check("sampler_on_time", "share of the sampler's ticks that were missed", 0.01, "1", True),
    Check("client_on_time", "95th percentile of how much later than due requests were sent", 0.05, "s", True),
    Check("tokens_consistent", "requests whose tokens in the step log differ from their own counts", 0, "requests", True),
    Check("meters_consistent", "largest relative difference of two channels of one sensor beyond its uncertainty", 0.05, "1", True),
    Check("meters_agree", "largest difference of two sensors of one domain over its expanded uncertainty (k = 2)", 1.0, "1", True),
    Check("rest_not_negative", "how far the rest of a node is below zero, over its expanded uncertainty (k = 2)", 1.0, "1", True),
    Check("enough_requests", "requests finished in the window", 4, "requests", True, at_least=True),
    Check("fit_factor", "metered energy over the sum of its phases: distance from 1", 0.05, "1", False),
    Check("interval_width", "half width of the 95 % interval (within the rig) over the energy of the window", 0.05, "1", False),
    Check("level_device", "demands of the level of evidence `device` that the run does not meet, repeats aside", 0, "demands", False),
    Check("level_host", "demands of the level `host` that the run does not meet, repeats aside", 0, "demands", False),
    Check("level_wall", "demands of the level `wall` that the run does not meet, repeats aside", 0, "demands", False),
)
CHECKS = {check.name: check for check in _ROWS}
"""Name -> check."""

OPEN_LOOP_REQUESTS = 30
"""Arrivals drawn at random need more requests than a loop that waits for its answers."""
OPEN_LOOPS = ("poisson", "gamma", "burst", "trace", "rate", "open", "constant")
