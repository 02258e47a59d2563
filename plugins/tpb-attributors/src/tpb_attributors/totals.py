"""`totals`: the energy of every domain in every window, not split into phases. Applies to any bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpb_core.api import Attributor, AttributorConfig, Ledger, RunView, option

if TYPE_CHECKING:
    from tpb_core.api import Window
    from tpb_core.energy.domain_energy import DomainEnergy
    from tpb_core.energy.domain_work import DomainWork
    from tpb_core.energy.domains import Domain
    from tpb_core.energy.run_energy import RunEnergy

VERSION = "0.1.0"


@dataclass
class TotalsConfig(AttributorConfig):
    """Options of `totals`."""

    name: str = option("totals", help="entry-point name of the attributor")


class Totals(Attributor[TotalsConfig]):
    """Energy of each domain and window, and the validity of the run."""

    config_class = TotalsConfig

    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        """Method `totals`, and `totals/reported` for what an imported source reported. Never refuses: no figure is NULL with a reason."""
        from tpb_core.energy.checks import run_checks
        from tpb_core.energy.domain_work import DomainWork
        from tpb_core.energy.evidence import level_rows
        from tpb_core.energy.ledger import balance_of, ledger_of
        from tpb_core.energy.reported import reported_ledger
        from tpb_core.energy.run_energy import RunEnergy

        energy = RunEnergy(runs[0])
        work = DomainWork(energy)
        balance = balance_of(energy, lambda run, domain, window: _without_phases(run, domain, window, work))
        ledger = ledger_of(energy, balance, "totals", VERSION, {})
        ledger.validity = [*run_checks(energy, balance, "totals"), *level_rows(energy, ledger.energy)]
        reported = reported_ledger(energy, VERSION)
        return [ledger] if reported is None else [ledger, reported]


def _without_phases(energy: RunEnergy, domain: Domain, window: Window, work: DomainWork) -> DomainEnergy:
    from dataclasses import replace

    from tpb_core.api import Reason
    from tpb_core.energy.balance import PHASE_NAMES
    from tpb_core.energy.domain_energy import domain_energy

    known = domain_energy(energy, domain, window, work.rates(domain.name), largest_u_share=1.0)
    reason = known.reason or energy.activity.reason or Reason.NOT_SPLIT
    return replace(known, phases={}, phase_reasons=dict.fromkeys(PHASE_NAMES, reason))
