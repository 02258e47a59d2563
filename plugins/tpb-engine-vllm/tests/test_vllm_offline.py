"""vLLM in this process on a real, tiny model: its tokens, and a step log that survives what its scheduler does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, EngineContext, Refused, Request, Sampling
from tpb_core.testing import engine_accounts
from tpb_core.testing.engine_session import EngineSession, SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_vllm import VllmConfig

pytestmark = [pytest.mark.real_engine, pytest.mark.timeout(400)]

Open = Callable[..., EngineSession]
PROMPTS = [[5, 6, 7, 8, 9], [40, 41], [100] * 7]


@pytest.fixture
def opened(tiny_llama: Path) -> Iterator[Open]:
    """Opens the one engine of a test."""
    sessions: list[EngineSession] = []

    def open_one(**options: Any) -> EngineSession:
        small = {"dtype": "float32", "enforce_eager": True, "max_model_len": 256, "max_num_seqs": 8, "kv_cache_gib": 0.125}
        config = VllmConfig(**{"model": str(tiny_llama), **small, **options})
        sessions.append(EngineSession(config, EngineContext(SuiteClock(), "run", max_concurrency=4)))
        sessions[-1].open()
        return sessions[-1]

    yield open_one
    for session in sessions:
        session.engine.close()


def stream(session: EngineSession, prompts: list[list[int]], sampling: Sampling) -> RecordingSink:
    sink = RecordingSink()
    session.stream([Request(n, f"r{n}", sampling, input_ids=ids) for n, ids in enumerate(prompts)], sink)
    engine_accounts.check_steps_in_order(sink.steps)
    engine_accounts.check_steps_hold_tokens(sink)
    engine_accounts.check_members(sink)
    return sink


def on_cpu() -> bool:
    import torch

    return not torch.cuda.is_available()


def greedy_by_transformers(folder: Path, prompt: list[int], count: int) -> list[int]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = list(prompt)
    for _ in range(count):
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_greedy_tokens_are_those_of_transformers(opened: Open, tiny_llama: Path) -> None:
    sink = stream(opened(), PROMPTS, Sampling(9, exact_output_length=True))
    for number, prompt in enumerate(PROMPTS):
        assert sink.requests[number].ids == greedy_by_transformers(tiny_llama, prompt, 9)


def test_long_prompts_are_computed_in_pieces_beside_decoding(opened: Open) -> None:
    # a step has 16 tokens: 16 of the long prompt; 15 and the short one's decode token; ...
    session = opened(max_num_batched_tokens=16, max_num_seqs=4)
    sink = RecordingSink()
    short, long = (Request(n, f"r{n}", Sampling(8, exact_output_length=True), input_ids=ids) for n, ids in enumerate(([1, 2], [3] * 40)))
    session.submit([short], sink)
    session.advance_until(sink, lambda: bool(sink.requests[0].tokens))
    session.submit([long], sink)
    session.advance_until(sink, lambda: False)
    engine_accounts.check_members(sink)
    assert [(s.prefill_tokens, s.decode_tokens) for s in sink.steps[:5]] == [(2, 0), (15, 1), (15, 1), (10, 1), (0, 2)]
    assert [s.prefill_kv_tokens for s in sink.steps[:4]] == [0, 0, 15, 30]
    assert not session.capabilities.static_batch
    with pytest.raises(Refused, match="42 tokens") as refusal:
        session.engine.run_batch([short, long], sink)
    assert "load=offline" in str(refusal.value.fix)


def test_the_engines_own_stamps_lie_within_its_steps(opened: Open) -> None:
    sink = stream(opened(), PROMPTS, Sampling(5, exact_output_length=True))
    for recorded in sink.requests.values():
        assert recorded.queued_ns <= recorded.started_ns  # type: ignore[operator]  # None would fail the test too
        assert sink.steps[0].t0_ns <= recorded.started_ns <= sink.steps[0].t1_ns  # type: ignore[operator]  # None would fail the test too
        for (t_ns, _, _), step in zip(recorded.tokens, sink.steps, strict=True):
            assert step.t0_ns <= t_ns <= step.t1_ns


def test_a_prefix_cache_that_was_asked_for_is_used_and_counted(opened: Open) -> None:
    session, sampling = opened(prefix_cache=True, args={"block_size": 32}), Sampling(2, exact_output_length=True)
    prompt = list(range(100))
    first, again = stream(session, [prompt], sampling), stream(session, [prompt], sampling)
    assert (first.requests[0].cached_tokens, again.requests[0].cached_tokens) == (0, 96)  # three whole blocks of 32
    assert sum(step.prefill_tokens for step in again.steps) == 4
    assert session.engine.reset_caches()
    assert stream(session, [prompt], sampling).requests[0].cached_tokens == 0


def test_preempted_requests_are_computed_again_and_say_so(opened: Open) -> None:
    # four requests of 20 + 40 tokens need 8 blocks of 32; five can be used
    session = opened(max_model_len=64, args={"block_size": 32, "num_gpu_blocks_override": 6})
    sink = stream(session, [[n] * 20 for n in range(4)], Sampling(40, exact_output_length=True))
    assert all(recorded.status == "ok" and recorded.output_tokens == 40 for recorded in sink.requests.values())
    assert sum(recorded.preemptions for recorded in sink.requests.values()) > 0
    recomputed = sum(step.recomputed_tokens or 0 for step in sink.steps)
    assert recomputed > 0
    assert sum(step.prefill_tokens for step in sink.steps) == 4 * 20 + recomputed
    assert sum(step.decode_tokens for step in sink.steps) == 4 * 39


def test_a_draft_model_that_is_the_model_is_always_right(opened: Open, tiny_llama: Path) -> None:
    session = opened(speculative_model=str(tiny_llama), speculative_tokens=3)
    sink = stream(session, PROMPTS, Sampling(9, exact_output_length=True))
    # nine tokens: one from the prompt, then four a step
    assert [step.emitted_tokens for step in sink.steps] == [3, 12, 12]
    assert [(step.draft_tokens, step.accepted_tokens) for step in sink.steps] == [(0, 0), (9, 9), (9, 9)]
    for number, prompt in enumerate(PROMPTS):
        assert sink.requests[number].ids == greedy_by_transformers(tiny_llama, prompt, 9)


def test_two_devices_share_the_layers_and_end_with_the_engine(opened: Open, tiny_llama: Path) -> None:
    session = opened(tensor_parallel=2, **({"threads": 1} if on_cpu() else {}))
    assert session.description.effective["tensor_parallel"] == 2
    workers = session.engine.processes()
    assert len(workers) >= 2
    sink = stream(session, PROMPTS, Sampling(9, exact_output_length=True))
    for number, prompt in enumerate(PROMPTS):
        assert sink.requests[number].ids == greedy_by_transformers(tiny_llama, prompt, 9)
    session.engine.close()
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def test_compiling_is_a_window_of_its_own(opened: Open, tiny_llama: Path) -> None:
    session = opened(enforce_eager=False)
    ((name, t0_ns, t1_ns),) = session.opening.windows
    assert name == "compile"
    assert t1_ns > t0_ns
    sink = stream(session, PROMPTS[:1], Sampling(9, exact_output_length=True))
    assert sink.requests[0].ids == greedy_by_transformers(tiny_llama, PROMPTS[0], 9)


def test_arguments_are_in_effect(opened: Open) -> None:
    session = opened(args={"block_size": 64}, max_num_batched_tokens=512)
    effective = session.description.effective
    assert (effective["max_num_batched_tokens"], effective["max_num_seqs"], effective["max_model_len"]) == (512, 8, 256)
    assert session.description.extensions["x_vllm"]["block_tokens"] == 64
    assert session.description.dtype == effective["dtype"] == "float32"


def test_requests_that_can_never_end_are_rejected(opened: Open) -> None:
    session, sink = opened(), RecordingSink()
    sampling = Sampling(8, exact_output_length=True)
    prompts = [[1] * 249, [1, 2], [999_999], [1] * 300]
    session.stream([Request(n, f"r{n}", sampling, input_ids=ids) for n, ids in enumerate(prompts)], sink)
    assert [sink.requests[n].status for n in range(4)] == ["rejected", "ok", "rejected", "rejected"]
    assert "engine.max_model_len" in str(sink.requests[0].error)
    assert "vocabulary" in str(sink.requests[2].error)


def test_a_step_that_fails_ends_the_requests_as_errors(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    session, sink = opened(), RecordingSink()
    core = session.engine._engine.engine_core.engine_core  # type: ignore[attr-defined]  # vLLM's own scheduler is looked at

    def no_memory(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(core.model_executor, "execute_model", no_memory)
    session.stream([Request(n, f"r{n}", Sampling(3), input_ids=[1, 2]) for n in range(2)], sink)
    assert [recorded.status for recorded in sink.requests.values()] == ["error", "error"]
    assert "out of memory" in str(sink.requests[0].error)
    session.engine.close()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"max_model_len": 100_000}, "max_model_len"),
        ({"quantization": "no_such_method"}, "no_such_method"),
        ({"args": {"blok_size": 32}}, "blok_size"),
    ],
)
def test_options_that_vllm_does_not_take_are_bad_input(opened: Open, options: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what) as refusal:
        opened(**options)
    assert refusal.value.fix
    opened().engine.close()  # nothing was left behind


def test_images_are_refused(opened: Open) -> None:
    session = opened()
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    with pytest.raises(Refused, match="image_url"):
        session.engine.tokenizer().render_chat([picture])


def write_adapter(folder: Path, rank: int = 8) -> Path:
    """A LoRA adapter of the first layer's query projection, as PEFT stores it, strong enough to change what comes out."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    save_file({name.format("A"): torch.randn(rank, 128), name.format("B"): torch.randn(128, rank)}, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def test_an_adapter_acts_as_if_its_product_were_added_to_the_weights(opened: Open, tiny_llama: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    (tmp_path / "adapter").mkdir()
    adapter = write_adapter(tmp_path / "adapter")
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    down, up = load_file(adapter / "adapter_model.safetensors").values()
    model.model.layers[0].self_attn.q_proj.weight.data += up @ down
    model.save_pretrained(tmp_path / "merged")

    session = opened(lora=str(adapter), lora_max_rank=8)
    sink = stream(session, PROMPTS, Sampling(9, exact_output_length=True))
    assert session.description.effective["lora_max_rank"] == 8
    for number, prompt in enumerate(PROMPTS):
        merged = greedy_by_transformers(tmp_path / "merged", prompt, 9)
        assert merged != greedy_by_transformers(tiny_llama, prompt, 9)
        assert sink.requests[number].ids == merged


# The last one: vLLM cannot start again in a process in which the library behind its n-gram look-up has been loaded.
def test_ngram_drafts_are_counted_and_change_no_token(opened: Open) -> None:
    prompt, sampling = [7, 8, 9, 10] * 6, Sampling(24, exact_output_length=True)
    session = opened()
    plain = stream(session, [prompt], sampling)
    session.engine.close()
    session = opened(speculative_method="ngram", speculative_tokens=3, ngram_max_tokens=3, ngram_min_tokens=1)
    sink = stream(session, [prompt], sampling)
    assert sink.requests[0].ids == plain.requests[0].ids
    drafted, accepted = (sum(getattr(step, name) or 0 for step in sink.steps) for name in ("draft_tokens", "accepted_tokens"))
    assert drafted > 0
    assert sum(step.decode_tokens for step in sink.steps) == 23 + drafted - accepted
    assert len(sink.steps) == 24 - accepted
    assert session.description.effective["speculative_method"] == "ngram"
