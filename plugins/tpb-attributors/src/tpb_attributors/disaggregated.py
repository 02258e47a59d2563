"""`disaggregated`: prefill and decode on pools of their own; each pool's meter tells its phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tpb_core.api import Attributor, AttributorConfig, Ledger, RunView, option

VERSION = "0.1.0"


@dataclass
class DisaggregatedConfig(AttributorConfig):
    """Options of `disaggregated`."""

    name: str = option("disaggregated", help="entry-point name of the attributor")
    largest_u_share: float = option(0.1, help="a phase whose standard uncertainty is a larger share of the window's energy is NULL")


class Disaggregated(Attributor[DisaggregatedConfig]):
    """Every step of a prefill instance is prefill, with what it recomputes and transfers; every step of a decode instance is decode."""

    config_class = DisaggregatedConfig

    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        """One ledger, method `disaggregated`. Raises `PreconditionFailed` `pools` or `no_step_log`."""
        from tpb_core.energy.checks import phase_checks
        from tpb_core.energy.domain_energy import domain_energy
        from tpb_core.energy.domain_work import DomainWork
        from tpb_core.energy.ledger import balance_of, ledger_of
        from tpb_core.energy.pools import by_role
        from tpb_core.energy.request_energy import request_energy
        from tpb_core.energy.run_energy import RunEnergy

        energy = RunEnergy(runs[0])
        energy.activity = by_role(energy.run, energy.activity)
        limit = self.config.largest_u_share
        work = DomainWork(energy)
        balance = balance_of(
            energy, lambda run, domain, window: domain_energy(run, domain, window, work.rates(domain.name), largest_u_share=limit)
        )
        ledger = ledger_of(energy, balance, "disaggregated", VERSION, {"largest_u_share": limit})
        ledger.request_energy = request_energy(energy, balance, "disaggregated")
        ledger.validity = phase_checks(energy, balance, "disaggregated")
        return [ledger]
