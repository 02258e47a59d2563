"""Requests: how members share a step."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_core.api import Window
from tpb_core.energy.request_shares import Costs, roster_of, shares_by_members
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.timeline import State
from tpb_core.testing.memory_run import MemoryRun, members_of

SECOND = 1_000_000_000


def three_steps() -> RunEnergy:
    """A prompt of 10 tokens for request 0; then 0 and 1 decode together, holding 10 and 30 tokens; then a step of a stranger."""
    members = [[(0, 10, 0, 1, 0)], [(0, 0, 1, 1, 10), (1, 0, 3, 1, 30)], [(7, 0, 1, 1, 5)]]
    steps = {
        "step": np.arange(3), "t0_ns": np.arange(3) * SECOND, "t1_ns": (np.arange(3) + 1) * SECOND,
        "prefill_tokens": np.array([10, 0, 0]), "decode_tokens": np.array([0, 4, 1]),
    }  # fmt: skip
    requests = {"request": np.array([0, 1]), "submitted_ns": np.zeros(2, np.int64), "finished_ns": np.full(2, 3 * SECOND)}
    tables = {"steps": steps, "requests": requests}
    return RunEnergy(MemoryRun("r", {}, windows=[Window("measure", 0, 3 * SECOND)], tables=tables, members=members_of(members)))


@pytest.mark.parametrize(
    ("costs", "of_first"),
    [
        ((1.0, 0.0, 0.0, 0.0), 1 / 4),
        ((1.0, 0.1, 0.0, 0.0), 2 / (2 + 6)),
        ((0.0, 1.0, 0.0, 0.0), 10 / 40),
        ((1.0, 0.5, 0.0, 0.0), 6 / (6 + 18)),
        ((0.0, 0.5, 0.0, 1.0), (5 + 4) / (5 + 4 + 15 + 12)),
        ((0.0, 0.0, 0.0, 0.0), 1 / 4),
    ],
    ids=["tokens", "little_context", "context", "both", "a_square_costs_each_token_as_many_as_there_are", "nothing_known"],
)
def test_members_share_a_step_by_what_is_theirs(costs: Costs, of_first: float) -> None:
    energy = three_steps()
    (shares,) = shares_by_members(energy, roster_of(energy), np.array([[0.0], [8.0], [2.0]]), State.DECODE, [costs])
    np.testing.assert_allclose(shares.share, [0.8 * of_first, 0.8 * (1 - of_first)])
    assert shares.rest == pytest.approx(0.2)  # of a step of which no member is a request of the run
    np.testing.assert_allclose(shares.own, shares.share**2)


def test_a_context_that_costs_nothing_in_a_step_leaves_it_to_tokens() -> None:
    energy = three_steps()
    (shares,) = shares_by_members(energy, roster_of(energy), np.array([[5.0], [0.0], [0.0]]), State.PREFILL, [(0.0, 1.0, 0.0, 0.0)])
    np.testing.assert_allclose(shares.share, [1.0, 0.0])
