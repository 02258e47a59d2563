"""The true account of one window: joules and seconds of each phase on each device, and of each request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_sim.steplog import TrueSteps
from tpb_sim.truth.residence import Stays, idle_intervals, share_idle
from tpb_sim.truth.rules import split
from tpb_sim.world import World

Floats = npt.NDArray[np.float64]

BY_TOKENS = ("token", "pure")


@dataclass
class Amount:
    """Energy, and the time in which it was spent, of one phase of one domain (or of each of many requests)."""

    joules: Floats
    seconds: Floats

    def net_of(self, watts: float) -> Floats:
        """Energy above `watts` for as long as the phase lasted."""
        return self.joules - watts * self.seconds


@dataclass
class RequestAmounts:
    """Of each request of the account, in the order of `stays.request`; `nobody` is idle energy (J, s) while no request was resident."""

    prefill: Amount
    decode: Amount
    idle: Amount
    nobody: Amount


class WindowAccount:
    """Everything true about [t0_ns, t1_ns) of a finished world. A step that straddles an edge counts with the part of it inside."""

    def __init__(self, world: World, steps: TrueSteps, stays: Stays, t0_ns: int, t1_ns: int) -> None:
        self.world, self.steps, self.stays = world, steps, stays
        self.t0_ns, self.t1_ns = t0_ns, t1_ns
        overlap = np.minimum(steps.t1_ns, t1_ns) - np.maximum(steps.t0_ns, t0_ns)
        self._totals: dict[str, Amount] = {}
        self._requests: dict[tuple[str, str], RequestAmounts] = {}
        self._phases: dict[tuple[str, str], dict[str, Amount]] = {}
        self._inside = np.clip(overlap, 0, None) / np.maximum(steps.t1_ns - steps.t0_ns, 1)

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.t1_ns - self.t0_ns) / 1e9

    def has_mixed_steps(self) -> bool:
        """Whether any step of the window does both phases, so that a rule has something to decide."""
        return bool(((self._inside > 0) & (self.steps.prefill_tokens > 0) & (self.steps.decode_tokens > 0)).any())

    def total(self, domain: str) -> Amount:
        """The exact integral of the true power of a domain."""
        if domain not in self._totals:
            edges = self.world.energy_j(domain, [self.t0_ns, self.t1_ns])
            self._totals[domain] = Amount(np.array(edges[1] - edges[0]), np.array(self.seconds))
        return self._totals[domain]

    def _on(self, device: str) -> tuple[npt.NDArray[np.bool_], int]:
        shares = np.array([len(place.devices) if device in place.devices else 0 for place in self.world.places], dtype=np.int64)
        if not len(shares):
            return np.zeros(len(self.steps.t0_ns), dtype=np.bool_), 1
        runs = shares[self.steps.instance] > 0
        return runs, int(shares.max(initial=1))

    def _by_step(self, device: str, rule: str) -> tuple[Amount, Amount]:
        """Prefill and decode of every step on one device, static power included; 0 for steps that run elsewhere or outside."""
        steps, (runs, sharers) = self.steps, self._on(device)
        part = self._inside * runs

        def gross(joules: Floats, seconds: Floats) -> Floats:
            return joules / sharers + steps.static_w * seconds

        joules = split(
            rule, steps, gross(steps.joules, steps.duration_s), gross(steps.prefill_only_j, steps.prefill_only_s),
            gross(steps.decode_only_j, steps.decode_only_s),
        )  # fmt: skip
        seconds = split(rule, steps, steps.duration_s, steps.prefill_only_s, steps.decode_only_s)
        return Amount(joules[0] * part, seconds[0] * part), Amount(joules[1] * part, seconds[1] * part)

    def phases(self, device: str, rule: str) -> dict[str, Amount]:
        """`total`, `prefill`, `decode` and `idle` of a device; the last three add up to the first."""
        if (device, rule) not in self._phases:
            self._phases[device, rule] = self._account_phases(device, rule)
        return self._phases[device, rule]

    def _account_phases(self, device: str, rule: str) -> dict[str, Amount]:
        prefill, decode = self._by_step(device, rule)
        total = self.total(device)
        sums = {name: Amount(np.array(a.joules.sum()), np.array(a.seconds.sum())) for name, a in (("prefill", prefill), ("decode", decode))}
        starts, ends = self._idle(device)
        trace = self.world.device(device).trace
        sums["idle"] = Amount(np.array((trace.energy_j(ends) - trace.energy_j(starts)).sum()), np.array((ends - starts).sum() / 1e9))
        return {"total": total, **sums}

    def node_phases(self, node: str, rule: str) -> dict[str, Amount] | None:
        """Phases of a node at the outlet, where all instances share the same devices, so that at each instant one phase owns the host.

        None for other nodes: what of a host that serves two instances at once belongs to whose phase is a matter of opinion.
        """
        devices = {place.devices for place in self.world.places}
        if len(devices) != 1:
            return None
        supply, parts = self.world.supply, [self.phases(device, rule) for device in next(iter(devices))]
        unused = [self.total(name) for name in self.world.devices if name.startswith(node + "/") and name not in next(iter(devices))]
        if unused:
            return None
        return {
            phase: Amount(
                supply.factor * (sum(part[phase].joules for part in parts) + supply.host_w * parts[0][phase].seconds),
                parts[0][phase].seconds,
            )
            for phase in ("prefill", "decode", "idle")
        }

    def node_requests(self, node: str, rule: str) -> RequestAmounts | None:
        """The same at the outlet: a request's part of its devices, and of the host for as long as it had them. None as `node_phases`."""
        if self.node_phases(node, rule) is None:
            return None
        supply, parts = self.world.supply, [self.requests(device, rule) for device in next(iter({p.devices for p in self.world.places}))]

        def outlet(amounts: list[Amount]) -> Amount:
            seconds = amounts[0].seconds
            return Amount(supply.factor * (sum(a.joules for a in amounts) + supply.host_w * seconds), seconds)

        return RequestAmounts(*(outlet([getattr(part, name) for part in parts]) for name in ("prefill", "decode", "idle", "nobody")))

    def _idle(self, device: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        runs, _ = self._on(device)
        return idle_intervals(self.steps.t0_ns[runs], self.steps.t1_ns[runs], self.t0_ns, self.t1_ns)

    def requests(self, device: str, rule: str) -> RequestAmounts:
        """What each request cost on a device: its share of the steps that it took part in, and of idle time by residence.

        A step's phase is divided among its members by what their own tokens and KV reads cost in this world; under the rules in
        `BY_TOKENS`, which know of no cost function, by their tokens.
        """
        if (device, rule) not in self._requests:
            self._requests[device, rule] = self._account_requests(device, rule)
        return self._requests[device, rule]

    def _account_requests(self, device: str, rule: str) -> RequestAmounts:
        steps = self.steps
        prefill, decode = self._by_step(device, rule)
        step_of = np.repeat(np.arange(len(steps.t0_ns)), np.diff(steps.offsets))
        size = len(self.stays.request)
        row_of = np.minimum(np.searchsorted(self.stays.request, steps.request), max(size - 1, 0))
        if steps.request.size and not (size and (self.stays.request[row_of] == steps.request).all()):
            raise ValueError("a step has a member that is no request of the run")

        def among_members(amount: Amount, own: Floats, tokens: Floats) -> Amount:
            weight = np.where(np.bincount(step_of, own, minlength=len(steps.t0_ns))[step_of] > 0, own, tokens)
            share = weight / np.maximum(np.bincount(step_of, weight, minlength=len(steps.t0_ns))[step_of], 1e-300)
            return Amount(_summed(row_of, amount.joules[step_of] * share, size), _summed(row_of, amount.seconds[step_of] * share, size))

        prefilled, decoded, held = (column.astype(np.float64) for column in (steps.member_prefill, steps.member_decode, steps.member_kv))
        own = (prefilled, decoded)
        if rule not in BY_TOKENS and self.world.cost is not None:
            own = self.world.cost.member_weights(prefilled, decoded, held)
        parts = among_members(prefill, own[0], prefilled), among_members(decode, own[1], decoded)
        joules, seconds, alone_j, alone_s = share_idle(self.world.device(device).trace, *self._idle(device), self.stays)
        return RequestAmounts(*parts, Amount(joules, seconds), Amount(np.array(alone_j), np.array(alone_s)))


def _summed(row: npt.NDArray[np.intp], amount: Floats, size: int) -> Floats:
    return np.bincount(row, amount, minlength=size).astype(np.float64)
