"""The step log of a static batch, from widths and token counts alone: figures worked out by hand, and sums that always hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import Member, Step
from tpb_engine_hf.rows import Row
from tpb_engine_hf.steplog import StepLog


def no_text(ids: object) -> str:
    return ""


def make_rows(prompts: list[int], limits: list[int], copies: int = 1) -> list[Row]:
    return [
        Row(request, copy, [1] * length, limit, frozenset())
        for request, (length, limit) in enumerate(zip(prompts, limits, strict=True))
        for copy in range(copies)
    ]


def play(rows: list[Row], chunk: int | None = None) -> list[Step]:
    """What `generate` does: the padded prompts in pieces, then one column at a time until all rows have ended."""
    log, t, steps = StepLog(rows), 0, []
    columns = max(len(row.prompt) for row in rows)
    widths = [min(chunk or columns, columns - start) for start in range(0, columns, chunk or columns)]
    for width in widths:
        log.forward(width)
        last = log.prefill_is_complete
        emitted = [row.take([7], t + 1, no_text) if last else 0 for row in rows]
        steps.append(log.step(t, t + 1, emitted))
        t += 1
    while any(row.ended is None for row in rows):
        log.forward(1)
        steps.append(log.step(t, t + 1, [row.take([7], t + 1, no_text) for row in rows]))
        t += 1
    return steps


def test_two_prompts_of_different_length() -> None:
    # prompts of 5 and 3 tokens: 2 columns of padding; outputs of 1 and 3 tokens, so the first row is padding in 2 decode steps
    prefill, first, second = play(make_rows([5, 3], [1, 3]))
    assert (prefill.prefill_tokens, prefill.prefill_padding_tokens, prefill.decode_tokens, prefill.emitted_tokens) == (8, 2, 0, 2)
    assert prefill.members == [Member(0, 5, 0, 1, 0), Member(1, 3, 0, 1, 0)]
    assert (first.decode_tokens, first.decode_padding_tokens, first.emitted_tokens, first.kv_tokens) == (1, 1, 1, 3)
    assert first.members == [Member(1, 0, 1, 1, 3)]
    assert (second.decode_tokens, second.decode_padding_tokens, second.kv_tokens) == (1, 1, 4)


def test_a_prompt_in_pieces_has_its_padding_in_the_first() -> None:
    # columns 0-3 and 4-4: the second row's two padding columns lie in the first piece
    first, second = play(make_rows([5, 3], [1, 1]), chunk=4)
    assert (first.prefill_tokens, first.prefill_padding_tokens, first.emitted_tokens, first.prefill_kv_tokens) == (6, 2, 0, 0)
    assert (second.prefill_tokens, second.prefill_padding_tokens, second.emitted_tokens, second.prefill_kv_tokens) == (2, 0, 2, 6)


def test_further_sequences_of_a_request_are_computed_again() -> None:
    prefill, decode = play(make_rows([4], [2], copies=2))
    assert (prefill.prefill_tokens, prefill.recomputed_tokens) == (8, 4)
    assert decode.members == [Member(0, 0, 2, 2, 8)]


def test_drafted_positions_are_decode_and_leave_the_cache_when_refused() -> None:
    (row,) = rows = make_rows([4], [6])
    log = StepLog(rows, assisted=True)
    log.forward(4 + 3)  # the prompt and three drafts at once
    step = log.step(0, 1, [row.take([1, 1, 1], 1, no_text)])  # two drafts accepted, and the token after them
    assert (step.prefill_tokens, step.decode_tokens, step.draft_tokens, step.accepted_tokens, step.emitted_tokens) == (4, 3, 3, 2, 3)
    log.forward(1 + 3)
    step = log.step(1, 2, [row.take([1], 2, no_text)])  # none accepted
    assert (step.decode_tokens, step.draft_tokens, step.accepted_tokens, step.kv_tokens) == (4, 3, 0, 6)
    log.forward(1)
    step = log.step(2, 3, [row.take([1], 3, no_text)])
    assert (step.draft_tokens, step.accepted_tokens, step.kv_tokens) == (0, 0, 7)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 12)), min_size=1, max_size=5),
    st.integers(1, 3),
    st.one_of(st.none(), st.integers(1, 12)),
)
def test_sums_hold_for_every_shape(shapes: list[tuple[int, int]], copies: int, chunk: int | None) -> None:
    prompts, limits = [prompt for prompt, _ in shapes], [limit for _, limit in shapes]
    rows = make_rows(prompts, limits, copies)
    steps = play(rows, chunk)
    columns = max(prompts)
    assert sum(step.prefill_tokens for step in steps) == copies * sum(prompts)
    assert sum(step.prefill_tokens + (step.prefill_padding_tokens or 0) for step in steps) == columns * len(rows)
    assert sum(step.recomputed_tokens or 0 for step in steps) == (copies - 1) * sum(prompts)
    assert sum(step.emitted_tokens for step in steps) == copies * sum(limits)
    assert sum(step.decode_tokens for step in steps) == copies * sum(limit - 1 for limit in limits)
    assert sum(step.decode_tokens + (step.decode_padding_tokens or 0) for step in steps) == (max(limits) - 1) * len(rows)
    for request, (prompt, limit) in enumerate(shapes):
        own = [member for step in steps for member in step.members or () if member.request == request]
        assert sum(member.prefill_tokens for member in own) == copies * prompt
        assert sum(member.emitted_tokens for member in own) == copies * limit
