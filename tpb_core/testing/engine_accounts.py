"""What the step log of an engine must add up to. Each check names the request or step that is wrong."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence

from tpb_core.api import Step
from tpb_core.testing.recording_sink import RecordedRequest, RecordingSink


def check_request(recorded: RecordedRequest, *, token_stamps: bool) -> None:
    """A request that ended well: counts agree as far as they are told, and time runs forwards."""
    name = f"request {recorded.request}"
    assert recorded.status == "ok", f"{name}: {recorded.status}, {recorded.error}"
    assert recorded.finished_ns is not None
    if recorded.cached_tokens is not None and recorded.input_tokens is not None:
        assert 0 <= recorded.cached_tokens <= recorded.input_tokens, name
    if not token_stamps:
        return
    assert recorded.counted_tokens == recorded.output_tokens, f"{name}: token reports add up to {recorded.counted_tokens}"
    stamps = [t_ns for t_ns, _, _ in recorded.tokens]
    assert stamps == sorted(stamps), f"{name}: token stamps run backwards"
    if recorded.started_ns is not None:
        assert recorded.started_ns <= recorded.first_token_ns, f"{name}: a token came out before the request began"
    assert recorded.last_token_ns <= recorded.finished_ns, f"{name}: a token came out after the end"


def check_steps_in_order(steps: Sequence[Step]) -> None:
    """Steps of one instance last some time and do not overlap; no count is negative."""
    by_instance: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_instance[step.instance].append(step)
        assert step.t0_ns <= step.t1_ns, f"a step of instance {step.instance} ends before it begins"
        for name in ("prefill_tokens", "decode_tokens", "emitted_tokens"):
            assert getattr(step, name) >= 0, f"{name} is negative"
    for instance, own in by_instance.items():
        own.sort(key=lambda step: (step.t0_ns, step.t1_ns))
        for before, after in itertools.pairwise(own):
            assert before.t1_ns <= after.t0_ns, f"steps of instance {instance} overlap by {before.t1_ns - after.t0_ns} ns"


def check_steps_hold_tokens(sink: RecordingSink, drafts: Iterable[str] = ()) -> None:
    """All output tokens came out of steps: the sums agree. A server may go on a little with a request that was given up."""
    target = [step for step in sink.steps if step.instance not in set(drafts)]
    emitted = sum(step.emitted_tokens for step in target)
    counted = sum(recorded.counted_tokens or recorded.output_tokens or 0 for recorded in sink.requests.values())
    given_up = any(recorded.status != "ok" for recorded in sink.requests.values())
    assert emitted == counted or (given_up and emitted > counted), f"steps emitted {emitted} tokens and requests report {counted}"


def check_members(sink: RecordingSink, drafts: Iterable[str] = ()) -> None:
    """Members add up to their step, and for each request that ended well to its own counts.

    Emitted tokens = output; prefill tokens = input - cached, more only where something was computed again (preemption, several
    sequences), never less. Draft instances emit nothing.
    """
    draft_names = set(drafts)
    prefill: dict[int, int] = defaultdict(int)
    emitted: dict[int, int] = defaultdict(int)
    for step in sink.steps:
        assert step.members is not None, "a step has unknown members although the engine declares step_members"
        for place, name in ((1, "prefill_tokens"), (2, "decode_tokens"), (3, "emitted_tokens")):
            total = sum(member[place] for member in step.members)
            assert total == getattr(step, name), f"members of a step have {total} {name}, the step {getattr(step, name)}"
        assert len({member.request for member in step.members}) == len(step.members), "a request is twice in the members of a step"
        if step.instance in draft_names:
            assert step.emitted_tokens == 0, "a draft instance emitted tokens"
            continue
        for member in step.members:
            prefill[member.request] += member.prefill_tokens
            emitted[member.request] += member.emitted_tokens
    for recorded in sink.requests.values():
        if recorded.status != "ok":
            continue
        name = f"request {recorded.request}"
        assert emitted[recorded.request] == recorded.output_tokens, f"{name}: members emitted {emitted[recorded.request]}"
        fresh = recorded.input_tokens - recorded.cached_tokens
        if recorded.sequences == 1 and not recorded.preemptions:
            assert prefill[recorded.request] == fresh, f"{name}: {prefill[recorded.request]} prefill tokens where {fresh} belong"
        else:
            assert prefill[recorded.request] >= fresh, f"{name}: {prefill[recorded.request]} prefill tokens, less than {fresh}"


def check_static_batch(sink: RecordingSink) -> None:
    """All prefill comes before any decode, and no step mixes the two."""
    decoding = False
    for step in sorted(sink.steps, key=lambda one: one.t0_ns):
        if step.draft_tokens is not None:  # a first pass that verifies drafts computes prompt and drafts together
            continue
        assert not (step.prefill_tokens and step.decode_tokens), "a step of a static batch mixes prefill and decode"
        assert not (decoding and step.prefill_tokens), "prefill after decode in a static batch"
        decoding = decoding or step.decode_tokens > 0


def largest_overlap(requests: Iterable[RecordedRequest], *, served: bool) -> int:
    """The most requests that were between their start and their end at one time.

    What a server (`served`) tells of starts may fit several requests on a busy machine; then a request counts from its first token.
    """
    edges: list[tuple[int, int]] = []
    for recorded in requests:
        assert recorded.started_ns is not None or served, f"request {recorded.request}: its start was not reported"
        assert recorded.finished_ns is not None
        edges += [(recorded.first_token_ns if recorded.started_ns is None else recorded.started_ns, 1), (recorded.finished_ns, -1)]
    under_way = most = 0
    for _, change in sorted(edges):
        under_way += change
        most = max(most, under_way)
    return most
