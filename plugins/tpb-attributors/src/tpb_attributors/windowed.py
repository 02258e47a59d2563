"""`windowed`: prefill, decode and idle energy where every step is one or the other, by regression of the readings on the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpb_core.api import Attributor, AttributorConfig, Ledger, PreconditionFailed, RunView, Window, option

if TYPE_CHECKING:
    from tpb_core.energy.domain_energy import DomainEnergy
    from tpb_core.energy.domains import Domain
    from tpb_core.energy.run_energy import RunEnergy

VERSION = "0.1.0"
MEASURED = ("measure", "steady")


@dataclass
class WindowedConfig(AttributorConfig):
    """Options of `windowed`."""

    name: str = option("windowed", help="entry-point name of the attributor")
    largest_u_share: float = option(0.1, help="a phase whose standard uncertainty is a larger share of the window's energy is NULL")


class Windowed(Attributor[WindowedConfig]):
    """Single streams and static batches: phases from a filtered regression, requests by their part in each step."""

    config_class = WindowedConfig

    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        """One ledger, method `windowed`. Raises `PreconditionFailed` `no_step_log`, `no_token_stamps` or `pure_steps`."""
        from tpb_core.energy.checks import phase_checks
        from tpb_core.energy.domain_energy import domain_energy
        from tpb_core.energy.domain_work import DomainWork
        from tpb_core.energy.ledger import balance_of, ledger_of
        from tpb_core.energy.request_energy import request_energy
        from tpb_core.energy.run_energy import RunEnergy

        energy = RunEnergy(runs[0])
        _refuse_unless_pure(energy)
        limit = self.config.largest_u_share
        work = DomainWork(energy)

        def one(run: RunEnergy, domain: Domain, window: Window) -> DomainEnergy:
            return domain_energy(run, domain, window, work.rates(domain.name), largest_u_share=limit)

        balance = balance_of(energy, one)
        parameters = {"largest_u_share": limit, "steps": "request stamps" if energy.activity.inferred else "step log"}
        ledger = ledger_of(energy, balance, "windowed", VERSION, parameters)
        ledger.request_energy = request_energy(energy, balance, "windowed")
        ledger.validity = phase_checks(energy, balance, "windowed")
        return [ledger]


def _refuse_unless_pure(energy: RunEnergy) -> None:
    """Every step within the measured windows is prefill or decode, not both."""
    import numpy as np

    from tpb_core.energy.timeline import State

    activity = energy.activity
    if activity.reason is not None:
        raise PreconditionFailed(
            str(activity.reason),
            f"{activity.reason.meaning}, and requests did not come one at a time with stamps of their first tokens",
            "Use an engine with a step log, or load=closed load.concurrency=1.",
        )
    for window in energy.run.windows:
        if window.window.split("/")[0] in MEASURED:
            t0_s, t1_s = energy.bounds_s(window)
            inside = (activity.t1_s > t0_s) & (activity.t0_s < t1_s)
            mixed = int(np.count_nonzero(inside & (activity.kind == State.MIXED)))
            if mixed:
                raise PreconditionFailed(
                    "pure_steps",
                    f"{mixed} of {int(np.count_nonzero(inside))} steps in window {window.window!r} compute prefill and decode together",
                    "Use the attributor `steps`, or a load without mixed steps: load=static, or load=closed load.concurrency=1.",
                )
