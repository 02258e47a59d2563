"""Static power: what a domain draws with the model loaded (or before the engine starts) and nothing to do."""

from __future__ import annotations

from collections.abc import Mapping

from tpb_core.energy.domain_energy import DomainEnergy
from tpb_core.energy.figures import Figure, total_of
from tpb_core.energy.run_energy import IDLE_WINDOWS, RunEnergy


def static_power(energy: RunEnergy, domain: str, basis: str, energies: Mapping[tuple[str, str], DomainEnergy]) -> Figure | None:
    """The idle power of a domain in watts (a figure for one second), the mean of its idle windows; None where there is none.

    The drift between two windows enters as a rectangular term: |difference| / sqrt(12).
    """
    powers: list[Figure] = []
    for name in IDLE_WINDOWS[basis]:
        window, known = energy.window(name), energies.get((name, domain))
        if window is not None and known is not None and known.total is not None and window.duration_s > 0:
            powers.append(known.total.scaled(1 / window.duration_s))
    if not powers:
        return None
    mean = total_of(powers).scaled(1 / len(powers))
    if len(powers) < 2:
        return mean
    drift_w = (powers[1].joules - powers[0].joules) / 12**0.5
    return mean.with_term("idle_drift", energy.once("idle_drift", domain), drift_w)
