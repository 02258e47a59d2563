"""The pool of KV cells against a model of llama.cpp's unified KV memory: nothing is lost, shared wrongly or promised twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpb_core.api import Request, Sampling
from tpb_engine_llamacpp.kv_cells import KvCells
from tpb_engine_llamacpp.loaded import Loaded
from tpb_engine_llamacpp.sequence import Sequence

calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class UnifiedMemory:
    """llama.cpp's unified KV memory as its documentation describes it: cells with a position, used by one or more sequences."""

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self.used: list[tuple[int, int, set[int]]] = []

    def compute(self, sequence: int, position: int, token: int) -> None:
        assert len(self.used) < self.cells, "llama_decode would find no cell"
        self.used.append((position, token, {sequence}))

    def tokens(self, sequence: int) -> list[int]:
        mine = sorted((position, token) for position, token, owners in self.used if sequence in owners)
        assert [position for position, _ in mine] == list(range(len(mine)))
        return [token for _, token in mine]

    def llama_memory_seq_rm(self, memory: Any, sequence: int, start: int, end: int) -> bool:
        for position, _, owners in self.used:
            if position >= start and (end < 0 or position < end):
                owners.discard(sequence)
        self.used = [cell for cell in self.used if cell[2]]
        return True

    def llama_memory_seq_cp(self, memory: Any, source: int, target: int, start: int, end: int) -> None:
        for position, _, owners in self.used:
            if source in owners and start <= position < end:
                owners.add(target)


def request_of(ids: list[int], outputs: int) -> Sequence:
    request = Request(0, "r", Sampling(outputs), input_ids=ids)
    return Sequence(request=request, ids=ids, end_tokens=frozenset(), queued_ns=0, prefill_end=len(ids))


@calm
@given(
    st.booleans(),
    st.integers(1, 4),
    st.lists(
        st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=9), st.integers(1, 4), st.integers(0, 12), st.booleans()), max_size=25
    ),
)
def test_cells_are_given_once_and_reused_rightly(keep: bool, sequences: int, story: list[tuple[list[int], int, int, bool]]) -> None:
    memory = UnifiedMemory(24)
    loaded = SimpleNamespace(lib=memory, memory=None, context_tokens=24, sequences=sequences)
    cells = KvCells(cast(Loaded, loaded), keep_prompts=keep)
    running: list[Sequence] = []
    for ids, outputs, steps, leave in story:
        new = request_of(ids, outputs)
        fits = sum(s.room for s in running) + new.room <= 24 and len(running) < sequences
        assert cells.give(new) == fits
        if fits:
            running.append(new)
            assert len({s.slot for s in running}) == len(running)
            assert new.cached == new.computed < len(ids)
            assert keep or new.cached == 0
            assert memory.tokens(new.slot) == ids[: new.computed]
        for sequence in running:
            for _ in range(min(steps, sequence.room - sequence.computed)):
                if sequence.computed >= len(sequence.ids):
                    sequence.outputs.append(2)
                token = (sequence.ids + sequence.outputs)[sequence.computed]
                memory.compute(sequence.slot, sequence.computed, token)
                sequence.computed += 1
            assert memory.tokens(sequence.slot) == (sequence.ids + sequence.outputs)[: sequence.computed]
        if leave and running:
            cells.take_back(running.pop(0))
    for sequence in running:
        cells.take_back(sequence)
    cells.forget_prompts()
    assert not memory.used
    assert not cells.forget_prompts()


@calm
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 40), st.integers(1, 9))
def test_a_preempted_request_recomputes_exactly_what_was_lost(lives: list[int], inputs: int, outputs: int) -> None:
    sequence = request_of(list(range(inputs)), outputs)
    prefill = recomputed = 0
    everything = inputs + outputs - 1

    def live(steps: int) -> None:
        nonlocal prefill, recomputed
        while steps and sequence.computed < everything:
            steps -= 1
            if sequence.prefilling:
                assert sequence.chunk(1) == [(sequence.ids + sequence.outputs)[sequence.computed]]
                prefill += 1
                recomputed += sequence.computed < sequence.recompute_end
                sequence.computed += 1
                if not sequence.prefilling and not sequence.outputs:
                    sequence.accept(7)
            else:
                sequence.computed += 1
                sequence.accept(7)

    for steps in lives:
        live(steps)
        sequence.preempt()
    live(1000)
    assert prefill == inputs + recomputed
    assert len(sequence.outputs) == outputs
    assert sequence.end_reason == "length"
    assert sequence.preemptions == len(lives)
