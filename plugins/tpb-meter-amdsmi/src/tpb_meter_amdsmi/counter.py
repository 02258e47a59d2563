"""The energy accumulator in joules, and whether it can be believed: some cards' counters stand still or count too little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tpb_core.api.clock import Clock
from tpb_meter_amdsmi.binding import ask, number
from tpb_meter_amdsmi.die import powers_of

POLL_NS = 20_000_000
MICRO = 1e-6
LEAST_RATIO, MOST_RATIO = 0.5, 2.0
"""Counter over integrated power: outside of these the counter is wrong, whatever the averaging of power."""


def energy_j(row: Any) -> tuple[float, float, int | None] | None:
    """(joules, resolution in joules, device stamp in ns) of `amdsmi_get_energy_count`; None where it has no value.

    Counts are worth `counter_resolution` microjoules each; the older name of the accumulator was `power`.
    """
    if not isinstance(row, Mapping):
        return None
    counts = number(row.get("energy_accumulator", row.get("power")))
    resolution = number(row.get("counter_resolution"))
    if counts is None or not resolution:
        return None
    stamp = number(row.get("timestamp"))
    return counts * resolution * MICRO, resolution * MICRO, int(stamp) if stamp else None


@dataclass(frozen=True)
class Verdict:
    """`frozen`, `wrong` (with the ratio of counter to power), `absent`, or `fine`."""

    word: str
    ratio: float | None = None


def judge(smi: Any, handles: Mapping[str, Any], clock: Clock, check_s: float) -> dict[str, Verdict]:
    """A verdict a device, from `check_s` seconds of its counter against the integral of its power."""
    counters = {uuid: energy_j(ask(smi, smi.amdsmi_get_energy_count, handle)) for uuid, handle in handles.items()}
    verdicts = {uuid: Verdict("absent" if first is None else "fine") for uuid, first in counters.items()}
    watched = {uuid: first[0] for uuid, first in counters.items() if first is not None}
    if check_s <= 0 or not watched:
        return verdicts
    start_ns = then_ns = clock.now_ns()
    integrals = dict.fromkeys(watched, 0.0)
    while then_ns < start_ns + check_s * 1e9:
        clock.sleep_until(then_ns + POLL_NS)
        now_ns = clock.now_ns()
        for uuid in watched:
            watts = powers_of(ask(smi, smi.amdsmi_get_power_info, handles[uuid]))
            integrals[uuid] += next(iter(watts.values()), 0.0) * (now_ns - then_ns) / 1e9
        then_ns = now_ns
    for uuid, before_j in watched.items():
        last = energy_j(ask(smi, smi.amdsmi_get_energy_count, handles[uuid]))
        counted_j = last[0] - before_j if last is not None else 0.0
        if integrals[uuid] <= 0:
            continue  # nothing to compare with
        ratio = counted_j / integrals[uuid]
        if counted_j == 0:
            verdicts[uuid] = Verdict("frozen", 0.0)
        elif not LEAST_RATIO <= ratio <= MOST_RATIO:
            verdicts[uuid] = Verdict("wrong", ratio)
    return verdicts
