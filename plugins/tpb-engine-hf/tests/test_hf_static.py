"""Static batches on a real, tiny model: against plain `generate`, and what only this engine has (pieces, drafts, compilation)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, EngineContext, Refused, Request, Sampling
from tpb_core.testing import engine_accounts
from tpb_core.testing.engine_session import EngineSession, SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_hf import HfConfig

pytestmark = pytest.mark.real_engine


def opened(model: Path, **options: Any) -> EngineSession:
    config = HfConfig(**{"model": str(model), "device": "cpu", **options})
    session = EngineSession(config, EngineContext(SuiteClock(), "run", max_concurrency=4, max_context_tokens=128))
    session.open()
    return session


@pytest.fixture(scope="module")
def engine(tiny_llama: Path) -> Iterator[EngineSession]:
    session = opened(tiny_llama)
    yield session
    session.engine.close()


def run(session: EngineSession, prompts: list[list[int]], samplings: list[Sampling]) -> RecordingSink:
    sink = RecordingSink()
    requests = [Request(n, f"r{n}", sampling, input_ids=ids) for n, (ids, sampling) in enumerate(zip(prompts, samplings, strict=True))]
    session.engine.run_batch(requests, sink)
    return sink


def plain(model: Path, prompt: list[int], **settings: Any) -> list[int]:
    """What Transformers itself generates for one prompt."""
    import torch
    from transformers import AutoModelForCausalLM

    ids = torch.tensor([prompt])
    loaded = AutoModelForCausalLM.from_pretrained(model)
    out = loaded.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, **settings)
    tokens: list[int] = out[0, len(prompt) :].tolist()
    return tokens


def test_left_padding_does_not_change_the_tokens(engine: EngineSession, tiny_llama: Path) -> None:
    prompts = [[5, 6, 7, 8, 9, 10, 11], [40, 41], [100]]
    sink = run(engine, prompts, [Sampling(6, exact_output_length=True)] * 3)
    for number, prompt in enumerate(prompts):
        assert sink.requests[number].ids == plain(tiny_llama, prompt, max_new_tokens=6, min_new_tokens=6, eos_token_id=None)


def test_beams_are_those_of_transformers(engine: EngineSession, tiny_llama: Path) -> None:
    prompt = [5, 6, 7, 8]
    sink = run(engine, [prompt], [Sampling(5, beam_width=3)])
    assert sink.requests[0].ids == plain(tiny_llama, prompt, max_new_tokens=5, num_beams=3)
    assert sum(step.decode_tokens for step in sink.steps) == 3 * (len(sink.steps) - 1)


def test_seeded_tokens_follow_the_model_s_distribution(engine: EngineSession, tiny_llama: Path) -> None:
    # 600 first tokens of one prompt under top_k=3 against the softmax of the three largest logits: within 5 standard deviations
    import torch
    from transformers import AutoModelForCausalLM

    prompt, draws = [9, 8, 7], 600
    drawn: Counter[int] = Counter()
    for start in range(0, draws, 100):
        samplings = [Sampling(1, exact_output_length=True, temperature=0.7, top_k=3, seed=start + n) for n in range(100)]
        drawn.update(recorded.ids[0] for recorded in run(engine, [prompt] * 100, samplings).requests.values())
    logits = AutoModelForCausalLM.from_pretrained(tiny_llama)(torch.tensor([prompt])).logits[0, -1] / 0.7
    values, tokens = logits.topk(3)
    for token, share in zip(tokens.tolist(), torch.softmax(values, dim=0).tolist(), strict=True):
        assert abs(drawn[token] / draws - share) < 5 * (share * (1 - share) / draws) ** 0.5
    assert sum(drawn.values()) == sum(drawn[token] for token in tokens.tolist())


def test_a_checkpoint_s_own_sampling_is_not_added(tiny_llama: Path, tmp_path: Path) -> None:
    import shutil

    from transformers import GenerationConfig

    folder = shutil.copytree(tiny_llama, tmp_path / "opinionated")
    GenerationConfig(do_sample=True, temperature=5.0, top_k=0, repetition_penalty=3.0, eos_token_id=257).save_pretrained(folder)
    session = opened(folder)
    sink = run(session, [[5, 6, 7]], [Sampling(6, exact_output_length=True)])
    assert sink.requests[0].ids == plain(tiny_llama, [5, 6, 7], max_new_tokens=6, min_new_tokens=6, eos_token_id=None)
    session.engine.close()


def test_prompts_in_pieces(tiny_llama: Path) -> None:
    session = opened(tiny_llama, prefill_chunk_tokens=4)
    sink = run(session, [list(range(10)), list(range(7))], [Sampling(3, exact_output_length=True)] * 2)
    assert [step.prefill_tokens for step in sink.steps] == [4 + 1, 4 + 4, 2 + 2, 0, 0]
    assert [step.prefill_padding_tokens for step in sink.steps] == [3, 0, 0, 0, 0]
    assert sink.requests[0].ids == plain(tiny_llama, list(range(10)), max_new_tokens=3, eos_token_id=None)
    session.engine.close()


def test_a_draft_model_that_is_the_model_is_always_right(tiny_llama: Path) -> None:
    session = opened(tiny_llama, assistant_model=str(tiny_llama), assistant_tokens=3)
    sink = run(session, [[5, 6, 7, 8]], [Sampling(8, exact_output_length=True)])
    assert sink.requests[0].ids == plain(tiny_llama, [5, 6, 7, 8], max_new_tokens=8, eos_token_id=None)
    target = [step for step in sink.steps if step.instance == "0"]
    assert [(step.draft_tokens, step.accepted_tokens, step.emitted_tokens) for step in target] == [(3, 3, 4), (3, 3, 4)]
    assert [instance["role"] for instance in session.description.instances] == ["mixed", "draft"]
    engine_accounts.check_steps_in_order(sink.steps)
    engine_accounts.check_members(sink, session.drafts)
    session.engine.close()


def test_prompt_look_up_gives_the_same_tokens(tiny_llama: Path) -> None:
    session = opened(tiny_llama, prompt_lookup_tokens=3)
    sink = run(session, [[5, 6, 5, 6, 5]], [Sampling(8, exact_output_length=True)])
    assert sink.requests[0].ids == plain(tiny_llama, [5, 6, 5, 6, 5], max_new_tokens=8, eos_token_id=None)
    assert all(step.draft_tokens is not None for step in sink.steps)
    with pytest.raises(Refused, match="one request at a time"):
        run(session, [[1], [2]], [Sampling(2)] * 2)
    session.engine.close()


@pytest.mark.parametrize(
    ("samplings", "what"),
    [
        ([Sampling(4), Sampling(4, temperature=1.0)], "sampling.temperature"),
        ([Sampling(4, n=2), Sampling(4)], "sampling.n"),
        ([Sampling(4, beam_width=2, temperature=1.0)], "Beam search with a temperature"),
        ([Sampling(4, beam_width=2, n=3)], "has no 3 results"),
        ([Sampling(4, beam_width=2, stop=("x",))], "stop string"),
        ([Sampling(4, beam_width=2), Sampling(5, beam_width=2)], "length limit"),
    ],
)
def test_what_has_no_exact_counterpart_is_refused(engine: EngineSession, samplings: list[Sampling], what: str) -> None:
    with pytest.raises(Refused, match=what):
        run(engine, [[1, 2]] * len(samplings), samplings)


def test_a_request_beyond_the_context_is_rejected_and_others_run(engine: EngineSession) -> None:
    sink = run(engine, [[1] * 1020, [1, 2]], [Sampling(8, exact_output_length=True)] * 2)
    assert (sink.requests[0].status, sink.requests[1].status) == ("rejected", "ok")
    assert "1028 tokens of 1024" in str(sink.requests[0].error)


def test_a_model_that_fails_ends_the_requests_as_errors(engine: EngineSession, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("out of memory")

    batches = engine.engine._opened()  # type: ignore[attr-defined]
    monkeypatch.setattr(batches.model.model.layers[0].mlp, "forward", no_memory)
    sink = run(engine, [[1, 2], [3]], [Sampling(3)] * 2)
    assert [recorded.status for recorded in sink.requests.values()] == ["error", "error"]
    assert sink.events[0][0] == "engine_error"


def test_a_hub_name_that_cannot_be_had() -> None:
    with pytest.raises(BadInput, match="nobody/no-such-model cannot be loaded") as refusal:
        opened(Path("nobody/no-such-model"))
    assert "engine.model" in str(refusal.value.fix)


def test_chat_that_cannot_be_rendered(engine: EngineSession) -> None:
    tokenizer = engine.engine.tokenizer()
    picture = [{"role": "user", "content": [{"type": "image", "url": "x"}, {"type": "text", "text": "What is this?"}]}]
    with pytest.raises(Refused, match="holds image"):
        tokenizer.render_chat([picture])
    template = engine.engine._opened().tokenizer._tokenizer  # type: ignore[attr-defined]
    own, template.chat_template = template.chat_template, None
    with pytest.raises(BadInput, match="no chat template"):
        tokenizer.render_chat([[{"role": "user", "content": "hi"}]])
    template.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(BadInput, match="roles must alternate"):
        tokenizer.render_chat([[{"role": "user", "content": "hi"}]])
    template.chat_template = own


def test_options_that_do_not_go_together(tiny_llama: Path) -> None:
    for options, what in [
        ({"assistant_model": str(tiny_llama), "prompt_lookup_tokens": 3}, "Both a draft model"),
        ({"quantization": "no-such-method"}, "knows no quantisation"),
        ({"quantization_options": {"bits": 4}}, "quantization is none"),
        ({"device": "cuda:99"}, "is no device"),
    ]:
        with pytest.raises(BadInput, match=what):
            opened(tiny_llama, **options)


def test_requested_and_effective_options(tiny_llama: Path) -> None:
    session = opened(tiny_llama, dtype="bfloat16", attention="eager", cache="static", threads=1)
    requested, effective = session.description.requested, session.description.effective
    assert {name: effective[name] for name in ("dtype", "attention", "cache", "threads")} == {
        name: requested[name] for name in ("dtype", "attention", "cache", "threads")
    }
    assert session.description.dtype == "bfloat16"
    assert session.description.model["total_parameters"] == session.description.model["active_parameters"] > 100_000
    session.engine.close()


def test_quantised_while_loading(tiny_llama: Path) -> None:
    pytest.importorskip("bitsandbytes")
    session = opened(tiny_llama, quantization="bitsandbytes", quantization_options={"load_in_4bit": True})
    assert session.description.quantization == session.description.effective["quantization"] == "bitsandbytes"
    assert run(session, [[5, 6, 7]], [Sampling(3, exact_output_length=True)]).requests[0].output_tokens == 3
    session.engine.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses parts of torch that torch deprecates
def test_compilation_is_a_window_of_its_own_and_is_over_when_the_first_request_runs(tiny_llama: Path) -> None:
    session = opened(tiny_llama, compile=True, cache="static")
    ((name, t0_ns, t1_ns),) = session.opening.windows
    sink = run(session, [[5, 6, 7, 8]], [Sampling(4, exact_output_length=True)])
    assert name == "compile"
    assert sink.requests[0].ids == plain(tiny_llama, [5, 6, 7, 8], max_new_tokens=4, eos_token_id=None)
    assert sink.requests[0].finished_ns - sink.requests[0].started_ns < (t1_ns - t0_ns) / 5  # type: ignore[operator]
    session.engine.close()
