"""`steps`: prefill, decode and idle energy where steps do both at once, by a cost model fitted to the step log; one figure a split rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpb_core.api import Attributor, AttributorConfig, BadInput, Ledger, PreconditionFailed, RunView, option

if TYPE_CHECKING:
    from tpb_core.energy.run_energy import RunEnergy

VERSION = "0.1.0"
LEAST_DRAWS = 20
VARY = "rate, batch size, input and output length, so that steps differ from one another"


@dataclass
class StepsConfig(AttributorConfig):
    """Options of `steps`."""

    name: str = option("steps", help="entry-point name of the attributor")
    rules: list[str] = option(["shapley", "incremental", "token"], help="split rules: each is a figure of its own, `steps/<rule>`")
    largest_u_share: float = option(0.1, help="a phase whose standard uncertainty is a larger share of the window's energy is NULL")
    draws: int = option(200, help="sets of equally likely costs that are drawn for the uncertainty of the split, at least 20")
    seed: int = option(0, help="seed of the draws")

    def __post_init__(self) -> None:
        """Raises BadInput for a rule that is not known, and for too few draws."""
        from tpb_core.energy.split_rules import RULES

        for rule in self.rules:
            if rule not in RULES:
                raise BadInput(f"attributor.steps.rules: there is no split rule {rule!r}.", f"Rules: {', '.join(RULES)}")
        if self.draws < LEAST_DRAWS:
            raise BadInput(
                f"attributor.steps.draws: {self.draws} sets of costs do not tell an uncertainty.",
                f"At least {LEAST_DRAWS}; 200 by default.",
            )


class Steps(Attributor[StepsConfig]):
    """Continuous batching: states by filtered regression, mixed steps split by a non-negative cost model of the step log."""

    config_class = StepsConfig

    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        """One ledger a rule. Raises `PreconditionFailed` `no_step_log`, `no_token_stamps` or `measured_window`."""
        from tpb_core.energy.checks import measured_windows, phase_checks
        from tpb_core.energy.domain_work import DomainWork
        from tpb_core.energy.ledger import balance_of, ledger_of
        from tpb_core.energy.request_energy import request_energy
        from tpb_core.energy.run_energy import RunEnergy
        from tpb_core.energy.step_energy import StepEnergy
        from tpb_core.energy.step_split import StepSplits

        energy = RunEnergy(runs[0])
        _refuse_without_steps(energy)
        measured = measured_windows(energy)
        if not measured:
            raise PreconditionFailed("measured_window", "the bundle has no window `measure` or `steady` to fit a cost model on")
        splits = StepSplits(DomainWork(energy), measured, self.config.draws, self.config.seed)
        shared = StepEnergy(splits, list(self.config.rules), self.config.largest_u_share)
        parameters = {"largest_u_share": self.config.largest_u_share, "draws": self.config.draws, "seed": self.config.seed}
        ledgers = []
        for rule in self.config.rules:
            method = f"steps/{rule}"
            balance = balance_of(energy, lambda _, domain, window, rule=rule: shared.of(rule, domain, window))  # type: ignore[misc]
            ledger = ledger_of(energy, balance, method, VERSION, {**parameters, "rule": rule, **shared.described()})
            if any(row.reason == "uncertainty_too_large" for row in ledger.energy):
                ledger.parameters["vary"] = VARY
            ledger.request_energy = request_energy(
                energy,
                balance,
                method,
                lambda *where, rule=rule: shared.shares(rule, *where),  # type: ignore[misc]
            )
            ledger.validity = phase_checks(energy, balance, method, shared.fitted_j)
            ledgers.append(ledger)
        return ledgers


def _refuse_without_steps(energy: RunEnergy) -> None:
    reason = energy.activity.reason
    if reason is not None:
        raise PreconditionFailed(str(reason), reason.meaning, "Use an engine with a step log.")
