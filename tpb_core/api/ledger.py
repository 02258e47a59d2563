"""Rows of the four outputs of attribution: energy, request energy, budget, validity. Columns as in run-bundle's Outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PHASES = ("total", "prefill", "decode", "idle", "unattributed")
BASES = ("gross", "net_loaded", "net_bare")


@dataclass(slots=True)
class EnergyRow:
    """Energy of one phase of one domain in one window. NULL is None, never 0; a NULL `joules` has a `reason`."""

    window: str
    domain: str
    phase: str
    method: str
    basis: str
    joules: float | None = None
    of_which_static_j: float | None = None
    u_without_calibration_j: float | None = None
    u_total_j: float | None = None
    dof: float | None = None
    ci_low_j: float | None = None
    ci_high_j: float | None = None
    ci_total_low_j: float | None = None
    ci_total_high_j: float | None = None
    ci_kind: str | None = None
    mean_w: float | None = None
    peak_w: float | None = None
    peak_averaging_ms: float | None = None
    scopes: list[str] = field(default_factory=list)
    evidence: str | None = None
    derivation: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class BudgetRow:
    """One signed contribution to the uncertainty of a figure. Equal `term` and `source` add with their sign, others in quadrature."""

    window: str
    domain: str
    phase: str
    method: str
    basis: str
    term: str
    source: str
    du_j: float
    dof: float | None = None
    calibration: bool = False


@dataclass(slots=True)
class ValidityRow:
    """One check. `passed` None: no answer; a gate without an answer fails."""

    check: str
    passed: bool | None
    gate: bool
    window: str | None = None
    domain: str | None = None
    method: str | None = None
    value: float | None = None
    limit: float | None = None
    unit: str | None = None
    reason: str | None = None


REQUEST_ENERGY_COLUMNS = (
    "request", "window", "domain", "method", "basis", "prefill_j", "decode_j", "idle_j", "total_j", "prefill_u_j", "decode_u_j",
    "u_without_calibration_j", "u_total_j", "ci_low_j", "ci_high_j", "evidence", "reason",
)  # fmt: skip


@dataclass
class Ledger:
    """What an attributor returns. `request_energy` is columns of equal length (there can be millions of rows): NaN or None is NULL."""

    method: str
    attributor_version: str
    parameters: dict[str, Any] = field(default_factory=dict)
    energy: list[EnergyRow] = field(default_factory=list)
    request_energy: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    budget: list[BudgetRow] = field(default_factory=list)
    validity: list[ValidityRow] = field(default_factory=list)
    point: str | None = None
    arm: str | None = None
    """Which point and arm of a study the figures belong to; only in ledgers of attributors whose scope is `study`."""
