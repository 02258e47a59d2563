"""The llama.cpp engine with the real small model: what it counts, stamps, refuses and cleans up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tpb_engine_llamacpp import LlamaCppConfig, LlamaCppEngine
from tpb_engine_llamacpp.model_file import find_model, packaged_model

from tpb_core.api import BadInput, EngineContext, EngineDescription, EventCode, Refused, Request, Sampling, Step

pytestmark = pytest.mark.real_engine
SENTENCE = "The river begins in a wet meadow that no map calls by a name, and in a dry summer one can step across it."


class WallClock:
    """CLOCK_MONOTONIC."""

    virtual = False

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, t_ns: int) -> None:
        time.sleep(max(0, t_ns - self.now_ns()) / 1e9)


@dataclass
class Record:
    """A sink that keeps everything."""

    steps: list[Step] = field(default_factory=list)
    started_ns: dict[int, int] = field(default_factory=dict)
    ids: dict[int, list[int]] = field(default_factory=dict)
    token_ns: dict[int, list[int]] = field(default_factory=dict)
    done: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)

    def started(self, request: int, t_ns: int, queued_ns: int | None = None) -> None:
        assert queued_ns is not None
        assert queued_ns <= t_ns
        self.started_ns[request] = t_ns

    def tokens(self, request: int, t_ns: int, count: int, ids: Sequence[int] = ()) -> None:
        assert len(ids) == count
        self.ids.setdefault(request, []).extend(ids)
        self.token_ns.setdefault(request, []).extend([t_ns] * count)

    def finished(self, request: int, t_ns: int, reason: str, **counts: Any) -> None:
        self.done[request] = {"t_ns": t_ns, "reason": reason, **counts}

    def failed(self, request: int, t_ns: int, status: str, error: str) -> None:
        self.failures[request] = (status, error)

    def step(self, step: Step) -> None:
        self.steps.append(step)

    def window(self, name: str, t0_ns: int, t1_ns: int) -> None: ...

    def event(self, code: EventCode, message: str, request: int | None = None) -> None: ...

    def sums(self, request: int) -> tuple[int, int, int]:
        """Prefill, decode and emitted tokens of a request over all steps."""
        mine = [m for step in self.steps for m in step.members or () if m.request == request]
        return sum(m.prefill_tokens for m in mine), sum(m.decode_tokens for m in mine), sum(m.emitted_tokens for m in mine)

    def check_ledger(self) -> None:
        """What run-bundle.md demands of steps, members and requests."""
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            assert before.t0_ns < before.t1_ns <= after.t0_ns
        computed: Counter[int] = Counter({request: row["cached_tokens"] for request, row in self.done.items()})
        for step in self.steps:
            members = step.members
            assert members
            assert step.prefill_tokens == sum(m.prefill_tokens for m in members)
            assert step.decode_tokens == sum(m.decode_tokens for m in members)
            assert step.emitted_tokens == sum(m.emitted_tokens for m in members)
            assert step.kv_tokens == sum(m.kv_tokens for m in members if m.decode_tokens)
            assert step.prefill_kv_tokens == sum(m.kv_tokens for m in members if m.prefill_tokens)
            for m in members:
                if m.request in self.done and not self.done[m.request]["preemptions"]:
                    assert m.kv_tokens == computed[m.request]
                    computed[m.request] += m.prefill_tokens + m.decode_tokens
        for request, row in self.done.items():
            prefill, decode, emitted = self.sums(request)
            assert emitted == row["output_tokens"] == len(self.ids[request]) == len(self.token_ns[request])
            assert decode == row["output_tokens"] - 1
            if not row["preemptions"]:
                assert prefill == row["input_tokens"] - row["cached_tokens"]
            assert self.started_ns[request] < self.token_ns[request][0] <= self.token_ns[request][-1] == row["t_ns"]


def opened(max_concurrency: int = 4, log: Path | None = None, **options: Any) -> tuple[LlamaCppEngine, EngineDescription]:
    engine = LlamaCppEngine(
        # one thread: threads of llama.cpp wait for each other by spinning, which takes for ever where another test has the second core
        LlamaCppConfig(**{"threads": 1, **options}),
        EngineContext(clock=WallClock(), run_id="r", max_concurrency=max_concurrency, log_path=str(log) if log else None),
    )
    return engine, engine.open(Record())


@pytest.fixture(scope="module")
def engine() -> Iterator[LlamaCppEngine]:
    """Small chunks, so that prompts take several steps; a small cache, so that it can be too small."""
    engine, _ = opened(batch_tokens=48, micro_batch_tokens=48, context_tokens=256)
    yield engine
    engine.close()


def ids_of(engine: LlamaCppEngine, count: int, first: str = "") -> list[int]:
    ids = engine.tokenizer().encode([first + (SENTENCE + " ") * (count // 15 + 1)])[0][:count]
    assert len(ids) == count
    return ids


def ask(engine: LlamaCppEngine, number: int, ids: list[int], **sampling: Any) -> Request:
    settings = {"max_output_tokens": 6, "exact_output_length": True, **sampling}
    return Request(number, f"q{number}", Sampling(**settings), input_ids=ids)


def batch(engine: LlamaCppEngine, requests: list[Request]) -> Record:
    record = Record()
    engine.run_batch(requests, record)
    record.check_ledger()
    return record


def stream(engine: LlamaCppEngine, requests: list[Request]) -> Record:
    record = Record()
    engine.submit(requests, record)
    while engine.advance(record, 0):
        pass
    record.check_ledger()
    return record


def test_a_static_batch_prefills_in_chunks_and_then_decodes_together(engine: LlamaCppEngine) -> None:
    lengths, outputs = (70, 9, 33, 50), (3, 8, 1, 5)
    record = batch(
        engine, [ask(engine, i, ids_of(engine, n), max_output_tokens=o) for i, (n, o) in enumerate(zip(lengths, outputs, strict=True))]
    )
    assert [record.sums(i) for i in range(4)] == [(n, o - 1, o) for n, o in zip(lengths, outputs, strict=True)]
    kinds = [(step.prefill_tokens > 0, step.decode_tokens > 0) for step in record.steps]
    assert kinds == [(True, False)] * 4 + [(False, True)] * 7  # 162 tokens in chunks of 48; the longest answer has 8 tokens
    assert [step.decode_tokens for step in record.steps[4:]] == [3, 3, 2, 2, 1, 1, 1]
    assert {row["reason"] for row in record.done.values()} == {"length"}


def test_continuous_batching_mixes_and_counts_as_one_at_a_time(engine: LlamaCppEngine) -> None:
    requests = [ask(engine, i, ids_of(engine, 12 + 8 * i), max_output_tokens=4 + i) for i in range(7)]
    together = stream(engine, requests)
    assert any(step.prefill_tokens and step.decode_tokens for step in together.steps)
    assert max(len(step.members or ()) for step in together.steps) == 4
    alone = Record()
    for request in requests:
        engine.run_batch([request], alone)
    alone.check_ledger()
    counts = ("input_tokens", "output_tokens", "cached_tokens", "reason")
    assert {r: [row[c] for c in counts] for r, row in together.done.items()} == {
        r: [row[c] for c in counts] for r, row in alone.done.items()
    }
    assert [together.sums(i) for i in range(7)] == [alone.sums(i) for i in range(7)]


def test_each_sequence_gets_its_own_tokens(engine: LlamaCppEngine) -> None:
    texts = ["1, 2, 3, 4, 5, 6,", "Monday, Tuesday, Wednesday, Thursday,", "a b c d e f g"]
    requests = [ask(engine, i, ids, max_output_tokens=3) for i, ids in enumerate(engine.tokenizer().encode(texts))]
    together, apart = batch(engine, requests), [batch(engine, [request]) for request in requests]
    assert [together.ids[i] for i in range(3)] == [apart[i].ids[i] for i in range(3)]
    assert "7" in str(together.done[0]["text"])
    assert "Friday" in str(together.done[1]["text"])


def test_exact_length_goes_on_where_the_natural_end_would_be(engine: LlamaCppEngine) -> None:
    ids = engine.tokenizer().render_chat([[{"role": "user", "content": "What is 2+2?"}]])[0]
    record = batch(engine, [ask(engine, 0, ids, max_output_tokens=40, exact_output_length=False)])
    assert record.done[0]["reason"] == "stop"
    natural = record.done[0]["output_tokens"]
    assert natural < 40
    assert engine.tokenizer().decode([record.ids[0][-1:]]) == ["<|im_end|>"]
    exact = batch(engine, [ask(engine, 0, ids, max_output_tokens=natural + 5)])
    assert exact.done[0]["output_tokens"] == natural + 5
    assert exact.ids[0][:natural] == record.ids[0]


def test_sampling_is_seeded_and_top_k_1_is_greedy(engine: LlamaCppEngine) -> None:
    ids = ids_of(engine, 24)
    drawn = [
        stream(engine, [ask(engine, 0, ids, max_output_tokens=12, temperature=1.5, top_p=0.99, top_k=200, seed=seed)]).ids[0]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    greedy, narrow = (batch(engine, [ask(engine, 0, ids, **options)]).ids[0] for options in ({}, {"temperature": 2.0, "top_k": 1}))
    assert greedy == narrow
    mixed = batch(engine, [ask(engine, 0, ids), ask(engine, 1, ids, temperature=1.5, seed=5)])
    assert {row["output_tokens"] for row in mixed.done.values()} == {6}


def test_a_stop_string_ends_a_request_and_is_cut_off(engine: LlamaCppEngine) -> None:
    ids = engine.tokenizer().encode(["one two three four five six seven eight\none two three four five six seven eight\none two three"])[0]
    record = stream(engine, [ask(engine, 0, ids, max_output_tokens=20, stop=("e six",))])
    assert record.done[0]["reason"] == "stop"
    assert record.done[0]["text"].endswith("fiv")
    assert record.done[0]["output_tokens"] == 3


def test_cancelling_waiting_and_running_requests(engine: LlamaCppEngine) -> None:
    record = Record()
    engine.submit([ask(engine, i, ids_of(engine, 30), max_output_tokens=12) for i in range(6)], record)
    for _ in range(6):
        assert engine.advance(record, 0)
    engine.cancel([1, 5, 99], record)
    while engine.advance(record, 0):
        pass
    record.check_ledger()
    assert {r: status for r, (status, _) in record.failures.items()} == {1: "cancelled", 5: "cancelled"}
    assert sorted(record.done) == [0, 2, 3, 4]
    assert 0 < record.sums(1)[2] < 12
    assert record.sums(5) == (0, 0, 0)


def test_what_cannot_fit_is_rejected_and_what_fits_later_waits(engine: LlamaCppEngine) -> None:
    record = stream(
        engine,
        [
            ask(engine, 0, ids_of(engine, 250), max_output_tokens=8),
            *(ask(engine, i, ids_of(engine, 90), max_output_tokens=2) for i in (1, 2, 3)),
        ],
    )
    status, error = record.failures[0]
    assert status == "rejected"
    assert "engine.context_tokens" in error
    assert sorted(record.done) == [1, 2, 3]
    assert max(len(step.members or ()) for step in record.steps) <= 2
    exactly = batch(engine, [ask(engine, 0, ids_of(engine, 252), max_output_tokens=5), ask(engine, 1, ids_of(engine, 8))])
    assert exactly.done[0]["output_tokens"] == 5
    assert exactly.failures[1][0] == "rejected"


def test_bad_requests_are_rejected(engine: LlamaCppEngine) -> None:
    record = stream(engine, [ask(engine, 0, []), ask(engine, 1, [5, 10**6]), ask(engine, 2, [5], n=2), ask(engine, 3, [5])])
    assert {r: status for r, (status, _) in record.failures.items()} == {0: "rejected", 1: "rejected", 2: "rejected"}
    assert list(record.done) == [3]


def test_a_cache_that_is_fuller_than_we_know_preempts_and_recomputes(engine: LlamaCppEngine) -> None:
    loaded = engine._loaded
    assert loaded is not None
    lib, foreign = loaded.lib, 3  # a sequence that the engine did not place: llama.cpp runs out of cells before our books do
    record = Record()
    for start in range(0, 120, 40):
        engine._scheduler._iteration._batch.set_decoding([], [], [])  # type: ignore[union-attr]
        engine._scheduler._iteration._batch.add_chunk(ids_of(engine, 40), start, foreign, wanted=False)  # type: ignore[union-attr]
        assert lib.llama_decode(loaded.context, engine._scheduler._iteration._batch.struct) == 0  # type: ignore[union-attr]
    engine.submit([ask(engine, i, ids_of(engine, 65), max_output_tokens=12) for i in (0, 1)], record)
    while engine.advance(record, 0):
        if record.done:
            lib.llama_memory_seq_rm(loaded.memory, foreign, -1, -1)
    record.check_ledger()
    assert record.done[0]["preemptions"] == 0
    assert record.done[1]["preemptions"] == 1
    recomputed = sum(step.recomputed_tokens or 0 for step in record.steps)
    assert recomputed > 0
    assert record.sums(1)[0] == 65 + recomputed
    assert record.done[1]["output_tokens"] == 12
    assert not record.failures


def test_prefix_reuse_is_off_unless_asked_for(engine: LlamaCppEngine) -> None:
    ids = ids_of(engine, 90)
    for _ in range(2):
        again = batch(engine, [ask(engine, 0, ids)])
        assert again.done[0]["cached_tokens"] == 0
        assert again.sums(0)[0] == 90


def test_prefix_reuse_counts_cached_tokens() -> None:
    engine, description = opened(2, prefix_cache=True, context_tokens=256)
    try:
        assert description.prefix_cache is True
        ids = ids_of(engine, 90)
        first = batch(engine, [ask(engine, 0, ids)])
        again = batch(engine, [ask(engine, 0, ids)])
        longer = stream(engine, [ask(engine, 0, ids[:60] + ids_of(engine, 30, "Then")), ask(engine, 1, ids_of(engine, 40, "So"))])
        assert [first.done[0]["cached_tokens"], again.done[0]["cached_tokens"]] == [0, 89]
        assert [longer.done[i]["cached_tokens"] for i in (0, 1)] == [60, 0]
        assert first.ids[0] == again.ids[0]
        assert engine.reset_caches()
        assert batch(engine, [ask(engine, 0, ids)]).done[0]["cached_tokens"] == 0
        full = stream(engine, [ask(engine, i, ids_of(engine, 150, f"Number {i}. "), max_output_tokens=2) for i in range(3)])
        assert len(full.done) == 3  # kept prompts make room
    finally:
        engine.close()


def test_the_chat_template_is_applied_once_and_recorded(engine: LlamaCppEngine) -> None:
    tokenizer = engine.tokenizer()
    (ids,) = tokenizer.render_chat([[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]])
    expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode([ids]) == [expected]
    assert tokenizer.encode([expected]) == [ids]
    text = "Grüße, 日本 🚀"
    assert tokenizer.decode(tokenizer.encode([text])) == [text]
    by_message = Request(0, "q", Sampling(2, exact_output_length=True), messages=[{"role": "user", "content": "Why?"}])
    assert batch(engine, [by_message]).done[0]["input_tokens"] == len(tokenizer.render_chat([by_message.messages or []])[0])


def test_description_log_and_closing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "engine.log"
    template = tmp_path / "chat.jinja"
    template.write_text("{% for m in messages %}{{ raise_exception('no') if m.content == 'bad' else m.content }}!{% endfor %}")
    engine, description = opened(
        1, log, context_tokens=300, threads=1, kv_type_k="q8_0", flash_attention=True, chat_template=str(template), batch_tokens=128
    )
    assert description.model["total_parameters"] == 134_515_008
    assert (description.model["layers"], description.model["heads"], description.model["context_tokens"]) == (30, 9, 8192)
    assert description.model["name"] == "SmolLM2-135M-Instruct"
    assert (description.quantization, description.dtype) == ("Q4_1", "float32")
    assert description.requested["context_tokens"] == 300
    assert description.effective["context_tokens"] == 512  # llama.cpp rounds up
    same = ("threads", "kv_type_k", "flash_attention", "batch_tokens")
    assert {key: description.requested[key] for key in same} == {key: description.effective[key] for key in same}
    assert description.tokenizer["chat_template_source"] == "engine.chat_template"
    tokenizer = engine.tokenizer()
    assert tokenizer.decode(tokenizer.render_chat([[{"role": "user", "content": "Hi"}]])) == ["Hi!"]
    with pytest.raises(BadInput, match="refuses these messages: no"):
        tokenizer.render_chat([[{"role": "user", "content": "bad"}]])
    assert len(batch(engine, [ask(engine, 0, ids_of(engine, 20))]).done) == 1
    engine.close()
    engine.close()
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""
    assert "llama_kv_cache" in log.read_text()


def test_files_that_are_no_model(tmp_path: Path) -> None:
    whole = packaged_model()
    cut = tmp_path / "cut.gguf"
    with whole.open("rb") as file:
        cut.write_bytes(file.read(3_000_000))
    header = tmp_path / "header.gguf"
    header.write_bytes(cut.read_bytes()[:500])
    text = tmp_path / "model.gguf"
    text.write_text("hello")
    for name, words in ((cut, "corrupted or incomplete"), (header, "cannot be loaded"), (text, "is not GGUF"), (tmp_path, "is a folder")):
        with pytest.raises(BadInput, match=words) as caught:
            opened(model=str(name))
        assert str(name) in caught.value.what
    with pytest.raises(BadInput, match="no model file") as missing:
        opened(model=str(tmp_path / "modle.gguf"))
    assert str(text) in str(missing.value.fix)
    assert find_model("smollm2-135m-instruct") == whole


def test_options_that_cannot_be() -> None:
    with pytest.raises(BadInput, match=r"kv_type_k=q3 is not known"):
        opened(kv_type_k="q3")
    with pytest.raises(BadInput, match=r"threads=0"):
        opened(threads=0)
    with pytest.raises(Refused, match="at most 256 sequences"):
        opened(257)
    with pytest.raises(BadInput, match="cannot be read"):
        opened(chat_template="/nowhere/at/all")
    LlamaCppEngine(LlamaCppConfig(), EngineContext(clock=WallClock(), run_id="r")).close()


def test_importing_the_plugin_loads_no_library_and_check_tells_the_version() -> None:
    code = """
import sys, tpb_engine_llamacpp
print(sorted({'numpy', 'llama_cpp', 'llm'} & set(sys.modules)))
tpb_engine_llamacpp.LlamaCppEngine.check()
print('llm' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]
    assert done.stderr == ""
    assert LlamaCppEngine.check().startswith("0.3.")


def test_memory_is_given_back_after_close() -> None:
    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    def once() -> float:
        engine, _ = opened(1, context_tokens=4096, mmap=False)  # 96 MB of weights and 94 MB of cache, all in memory of its own
        batch(engine, [ask(engine, 0, ids_of(engine, 8), max_output_tokens=2)])
        inside = resident_mb()
        engine.close()
        return inside

    once()
    before = resident_mb()
    assert once() > before + 100
    assert resident_mb() < before + 20
