"""The work of the steps that run on each domain: their seconds where several instances overlap, and the rates by which power varies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from tpb_core.api import Window
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.step_work import DRAFT, TERMS, Work, density, rows_on, work_of
from tpb_core.energy.timeline import BUSY, State, Timeline

Floats = npt.NDArray[np.float64]

VARYING = ("busy", "prefill", "decode", "kv", "prefill_kv")
"""Rates that make power vary within a state: a step costs a sum of these amounts and of its time, so its power is a sum of rates."""


class DomainWork:
    """The steps of a run as work, seen from each domain. Every method takes it, so that a window's total is the same by all of them."""

    def __init__(self, energy: RunEnergy) -> None:
        self.energy = energy
        self.all_steps = work_of(energy.run, energy.activity)
        self._of: dict[frozenset[str] | None, Work] = {}

    def of(self, domain: str) -> Work:
        """The work of a domain's steps; where steps of several instances overlap, seconds are divided among them. Others have none."""
        key = self.energy.instances(domain)
        if key not in self._of:
            rows = rows_on(self.energy.activity, key)
            seconds = np.zeros(len(self.all_steps))
            for state in BUSY:
                seconds[rows] += self._seconds(self.energy.timeline(domain), rows, state, None)
            self._of[key] = replace(self.all_steps, seconds=seconds)
        return self._of[key]

    def state_seconds(self, domain: str, state: State, window: Window) -> Floats:
        """Seconds of each step in a window while the domain is in a state."""
        rows = rows_on(self.energy.activity, self.energy.instances(domain))
        seconds = np.zeros(len(self.all_steps))
        seconds[rows] = self._seconds(self.energy.timeline(domain), rows, state, self.energy.bounds_s(window))
        return seconds

    def rates(self, domain: str) -> dict[str, Floats] | None:
        """What makes power vary within a state, on each piece of the domain's timeline: rates of `VARYING`, a draft model's apart.

        None without a step log: stamps of requests tell no step from another.
        """
        if self.energy.activity.reason is not None or self.energy.activity.inferred:
            return None
        rows = rows_on(self.energy.activity, self.energy.instances(domain))
        work = self.of(domain).rows(rows)
        timeline = self.energy.timeline(domain)
        amounts = {name: TERMS[name](work) for name in (*VARYING, *(DRAFT if work.draft.any() else ()))}
        return {name: density(timeline, self.energy.activity, rows, amount) for name, amount in amounts.items()}

    def _seconds(self, timeline: Timeline, rows: npt.NDArray[np.int64], state: State, bounds: tuple[float, float] | None) -> Floats:
        t0, t1 = self.energy.activity.t0_s[rows], self.energy.activity.t1_s[rows]
        if bounds is not None:
            t0, t1 = np.clip(t0, *bounds), np.clip(t1, *bounds)
        upto = timeline.cumulative(state, np.concatenate([t0, t1]), shared=True)
        return np.asarray(upto[len(rows) :] - upto[: len(rows)])
