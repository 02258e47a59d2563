"""Truth as rows: one for each figure that an attributor could state of a finished run, with what a flawless analysis would read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tpb_sim.truth.account import Amount, RequestAmounts, WindowAccount
from tpb_sim.truth.residence import Stays
from tpb_sim.truth.rules import RULES
from tpb_sim.world import World


class PhaseTruth(NamedTuple):
    """A row of x_truth.parquet. `method` is the split rule; `pure` where the window has no mixed step.

    `as_metered_j` is gain * joules + offset * seconds with the true errors of the sensors: what a flawless analysis of their readings
    gives, and what an interval within the rig should hold. NaN where the domain is not metered.
    """

    window: str
    domain: str
    phase: str
    basis: str
    method: str
    joules: float
    seconds: float
    as_metered_j: float


REQUEST_COLUMNS = ("request", "window", "domain", "basis", "method", "prefill_j", "decode_j", "idle_j", "total_j", "as_metered_j")
"""Columns of x_truth_requests.parquet; request -1 is idle time while nobody was resident. `as_metered_j` belongs to the total."""


def _no_requests() -> dict[str, list[Any]]:
    return {name: [] for name in REQUEST_COLUMNS}


@dataclass
class Truth:
    """All true figures of some windows of a run."""

    phases: list[PhaseTruth] = field(default_factory=list)
    requests: dict[str, list[Any]] = field(default_factory=_no_requests)
    _index: dict[tuple[str, str, str, str, str], PhaseTruth] = field(default_factory=dict)

    def row(self, window: str, domain: str, phase: str, method: str = "shapley", basis: str = "gross") -> PhaseTruth:
        """One figure. Raises KeyError where there is none."""
        if len(self._index) != len(self.phases):
            self._index = {(r.window, r.domain, r.phase, r.basis, r.method): r for r in self.phases}
        return self._index[window, domain, phase, basis, method]


def truth_of(
    world: World,
    stays: Stays,
    windows: Sequence[tuple[str, int, int]],
    *,
    request_windows: Sequence[str] = ("measure",),
    rules: Sequence[str] = tuple(RULES),
) -> Truth:
    """The truth of a finished world. Requests are accounted for in `request_windows` only: there can be many of them.

    Raises ValueError where the world kept no truth.
    """
    if world.recorder is None:
        raise ValueError("the world was run without keeping truth (engine.truth=false)")
    steps, truth = world.recorder.columns(), Truth()
    order = np.argsort(stays.request, kind="stable")
    stays = Stays(stays.request[order], stays.from_ns[order], stays.to_ns[order])
    accounts = {window: WindowAccount(world, steps, stays, t0_ns, t1_ns) for window, t0_ns, t1_ns in windows}
    bases = _bases(world, accounts)
    for window, account in accounts.items():
        methods = [*rules, *([] if account.has_mixed_steps() else ["pure"])]
        for rule in methods:
            for basis, idle_w in bases.items():
                truth.phases += _phase_rows(world, account, window, rule, basis, idle_w)
                if window in request_windows:
                    _add_requests(truth.requests, world, account, (window, basis, rule), idle_w)
    return truth


def gpu_domains(world: World) -> list[str]:
    """The devices that count: those that are metered, or all where none is."""
    metered = [name for name in world.devices if name in world.sensors]
    return metered or list(world.devices)


def _bases(world: World, accounts: Mapping[str, WindowAccount]) -> dict[str, dict[str, float]]:
    """What each basis subtracts, in W for each domain: the true mean power of the idle windows that the run has."""
    bases: dict[str, dict[str, float]] = {"gross": dict.fromkeys([*world.devices, *_nodes(world)], 0.0)}
    for basis, names in (("net_loaded", ("idle_loaded_before", "idle_loaded_after")), ("net_bare", ("idle_bare",))):
        present = [accounts[name] for name in names if name in accounts and accounts[name].seconds > 0]
        if present:
            domains = bases["gross"]
            bases[basis] = {d: float(np.mean([a.total(d).joules / a.total(d).seconds for a in present])) for d in domains}
    return bases


def _nodes(world: World) -> list[str]:
    return sorted({name.split("/")[0] for name in world.devices})


def _phase_rows(world: World, account: WindowAccount, window: str, rule: str, basis: str, idle_w: dict[str, float]) -> Iterator[PhaseTruth]:
    sums: dict[str, list[float]] = {}
    for device in gpu_domains(world):
        for phase, amount in account.phases(device, rule).items():
            row = _row(world, account, (window, device, phase, basis, rule), amount, idle_w[device])
            sums[phase] = [have + new for have, new in zip(sums.get(phase, [0.0, 0.0, 0.0]), row[5:], strict=True)]
            yield row
    for node in _nodes(world):
        row = _row(world, account, (window, node, "total", basis, rule), account.total(node), idle_w[node])
        yield row
        for phase, amount in (account.node_phases(node, rule) or {}).items():
            part = _row(world, account, (window, node, phase, basis, rule), amount, idle_w[node])
            yield part
            if node in world.sensors:
                sums[phase] = list(part[5:])
        if node in world.sensors:  # the coarsest measured domain gives the run's total, and its phases
            sums["total"] = list(row[5:])
    for phase, (joules, seconds, as_metered) in sums.items():
        yield PhaseTruth(window, "total", phase, basis, rule, joules, seconds, as_metered)


def _row(world: World, account: WindowAccount, key: tuple[str, str, str, str, str], amount: Amount, idle_w: float) -> PhaseTruth:
    joules, seconds = float(amount.net_of(idle_w)), float(amount.seconds)
    sensor = world.sensors.get(key[1])
    as_metered = float("nan")
    if sensor is not None:
        # The sensor sees the idle power that is subtracted with the same gain and the same offset.
        as_metered = sensor.gain * joules + (sensor.offset_w * seconds if key[3] == "gross" else 0.0)
    return PhaseTruth(*key, joules, seconds, as_metered)


def _coarsest(world: World, account: WindowAccount, rule: str) -> list[str]:
    """What the run's total is made of: the nodes that are metered and know whose phase it is, else the devices."""
    nodes = [node for node in _nodes(world) if node in world.sensors and account.node_phases(node, rule) is not None]
    return nodes or gpu_domains(world)


def _requests_on(world: World, account: WindowAccount, domain: str, rule: str) -> RequestAmounts:
    at_outlet = account.node_requests(domain, rule) if domain in _nodes(world) else None
    return account.requests(domain, rule) if at_outlet is None else at_outlet


def _add_requests(
    columns: dict[str, list[Any]], world: World, account: WindowAccount, key: tuple[str, str, str], idle_w: dict[str, float]
) -> None:
    window, basis, rule = key
    size = len(account.stays.request)
    sums, as_metered = np.zeros((3, size + 1)), np.zeros(size + 1)
    for device in _coarsest(world, account, rule):
        amounts, sensor = _requests_on(world, account, device, rule), world.sensors.get(device)
        for place, amount in enumerate((amounts.prefill, amounts.decode, amounts.idle)):
            everybody = (
                amount
                if place < 2
                else Amount(np.append(amount.joules, amounts.nobody.joules), np.append(amount.seconds, amounts.nobody.seconds))
            )
            rows = slice(0, len(everybody.joules))
            joules = everybody.net_of(idle_w[device])
            sums[place, rows] += joules
            if sensor is None:
                as_metered[:] = np.nan
            else:
                as_metered[rows] += sensor.gain * joules + (sensor.offset_w * everybody.seconds if basis == "gross" else 0.0)
    columns["request"] += [*account.stays.request.tolist(), -1]
    for name, value in zip(("window", "domain", "basis", "method"), (window, "total", basis, rule), strict=True):
        columns[name] += [value] * (size + 1)
    for name, values in zip(
        ("prefill_j", "decode_j", "idle_j", "total_j", "as_metered_j"), (*sums, sums.sum(axis=0), as_metered), strict=True
    ):
        columns[name] += values.tolist()
