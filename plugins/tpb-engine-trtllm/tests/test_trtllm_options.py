"""Options in TensorRT-LLM's words, what came of them, and refusals that say what to type."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, MeasurementFailed, Unavailable
from tpb_engine_trtllm import TrtllmConfig, TrtllmEngine, TrtllmServeConfig, library
from tpb_engine_trtllm.llm_arguments import plain_arguments
from tpb_engine_trtllm.serve_command import command_line, write_arguments

Open = Callable[..., Any]


def test_block_reuse_is_off_unless_asked_for() -> None:
    assert plain_arguments(TrtllmConfig(), "pytorch")["kv_cache_config"] == {"enable_block_reuse": False, "enable_partial_reuse": False}
    assert plain_arguments(TrtllmConfig(prefix_cache=True), "pytorch")["kv_cache_config"]["enable_partial_reuse"] is True


def test_what_people_tune_reaches_the_library_and_comes_back(open_desk: Open) -> None:
    options = {
        "dtype": "bfloat16", "kv_cache_dtype": "fp8", "tensor_parallel": 2, "expert_parallel": 2, "max_batch_size": 16,
        "max_num_tokens": 512, "max_seq_len": 1024, "chunked_prefill": True, "cuda_graphs": False, "overlap_scheduler": False,
        "attention_backend": "FLASHINFER", "free_gpu_memory_fraction": 0.5, "speculative": "ngram", "speculative_tokens": 3,
        "sampler": "TRTLLMSampler",
    }  # fmt: skip
    desk = open_desk(**options, llm_args={"stream_interval": 1, "kv_cache_config": {"tokens_per_block": 64}})
    args = desk.engine._session.llm.args
    assert (args.tensor_parallel_size, args.moe_expert_parallel_size, args.max_num_tokens, args.max_seq_len) == (2, 2, 512, 1024)
    assert (args.enable_chunked_prefill, args.cuda_graph_config, args.disable_overlap_scheduler) == (True, None, True)
    assert (args.attn_backend, args.sampler_type, args.speculative_config.max_draft_len) == ("FLASHINFER", "TRTLLMSampler", 3)
    cache = args.kv_cache_config
    assert (cache.enable_block_reuse, cache.dtype, cache.free_gpu_memory_fraction, cache.tokens_per_block) == (False, "fp8", 0.5, 64)
    described = desk.description
    assert {key: described.requested[key] for key in options} == options
    told = set(options) - {"speculative_tokens"}
    assert {key: described.effective[key] for key in told} == {key: options[key] for key in told}
    assert described.dtype == "bfloat16"


def test_a_value_that_the_library_changed_is_seen(open_desk: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt_llm

    class Changing(tensorrt_llm.LLM):
        def __init__(self, *words: Any, **given: Any) -> None:
            super().__init__(*words, **given)
            self.args.max_batch_size = 7

    monkeypatch.setattr(tensorrt_llm, "LLM", Changing)
    desk = open_desk(max_batch_size=16)
    assert (desk.description.requested["max_batch_size"], desk.description.effective["max_batch_size"]) == (16, 7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"llm_args": {"max_batchsize": 4}}, "max_batchsize"),
        ({"llm_args": {"kv_cache_config": {"reuse": True}}}, "Extra inputs are not permitted"),
        ({"free_gpu_memory_fraction": 1.5}, "between 0 and 1"),
        ({"quantization": "FP8"}, "checkpoint"),
        ({"speculative": "draft_target"}, "draft model"),
        ({"speculative_tokens": 4}, "need a method"),
        ({"model": None}, "engine.model is missing"),
        ({"model": "/no/such/folder"}, "no such folder"),
    ],
)
def test_bad_options_say_what_is_wrong(open_desk: Open, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words) as refusal:
        open_desk(**options)
    assert refusal.value.fix


def test_a_model_that_does_not_load_points_to_the_log(open_desk: Open) -> None:
    with pytest.raises(MeasurementFailed, match="is not a valid model identifier") as failed:
        open_desk(model="owner/name")
    assert "worker.log" in str(failed.value.fix)


def test_a_model_without_a_tokenizer_says_what_to_type(open_desk: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt_llm

    monkeypatch.setattr(tensorrt_llm.LLM, "tokenizer", None)
    with pytest.raises(BadInput, match="brings no tokenizer") as refusal:
        open_desk()
    assert "engine.tokenizer=" in str(refusal.value.fix)


def test_built_engine_files_choose_their_back_end(tmp_path: Path) -> None:
    (tmp_path / "rank0.engine").write_bytes(b"\0")
    (tmp_path / "config.json").write_text(json.dumps({"build_config": {}}))
    assert library.chosen_backend(TrtllmConfig(model=str(tmp_path))) == "tensorrt"
    with pytest.raises(BadInput, match="PyTorch back end does not read"):
        library.chosen_backend(TrtllmConfig(model=str(tmp_path), backend="pytorch"))
    (tmp_path / "config.json").write_text("[" * 100_000)
    assert library.chosen_backend(TrtllmConfig(model=str(tmp_path))) == "pytorch"


def test_options_of_the_other_back_end_are_named(open_desk: Open, model: Path) -> None:
    with pytest.raises(BadInput, match=r"tensorrt back end .* no engine.attention_backend, engine.cuda_graphs"):
        open_desk(backend="tensorrt", attention_backend="FLASHINFER", cuda_graphs=True)


def test_a_release_without_the_tensorrt_back_end_says_so(open_desk: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt_llm._tensorrt_engine", None)
    with pytest.raises(Unavailable, match="no TensorRT back end any more"):
        open_desk(backend="tensorrt")


def test_without_the_library_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt_llm", None)
    with pytest.raises(Unavailable) as missing:
        TrtllmEngine.check()
    assert "pypi.nvidia.com" in str(missing.value.fix)


def test_ranks_that_the_library_forgets_are_ended(open_desk: Open, settings: Any) -> None:
    settings.leaves_ranks = True
    desk = open_desk(tensor_parallel=3)
    ranks = desk.engine.processes()
    assert len(ranks) == 2
    import tpb_engine_trtllm.engine as engine_room

    engine_room._PATIENCE_S, kept = 0.2, engine_room._PATIENCE_S
    try:
        desk.engine.close()
    finally:
        engine_room._PATIENCE_S = kept
    from tensorrt_llm.llm import FORGOTTEN

    assert {rank.wait(5) for rank in FORGOTTEN} == {-signal.SIGKILL}


def test_the_servers_command_and_its_file(model: Path, tmp_path: Path) -> None:
    config = TrtllmServeConfig(model=str(model), tensor_parallel=2, trust_remote_code=True, program="mpirun -n 1 trtllm-serve")
    file = tmp_path / "llm_args.yaml"
    write_arguments(config, "pytorch", file)
    written = json.loads(file.read_text())
    assert (written["tensor_parallel_size"], written["kv_cache_config"]["enable_block_reuse"]) == (2, False)
    assert (written["return_perf_metrics"], written["enable_iter_perf_stats"]) == (True, True)
    assert written["perf_metrics_max_requests"] > 10_000 and written["iter_stats_max_iterations"] > 10_000
    words = command_line(config, "pytorch", file).split()
    assert words[:5] == ["mpirun", "-n", "1", "trtllm-serve", str(model)]
    assert words[5:] == ["--host", "{host}", "--port", "{port}", "--trust_remote_code", "--extra_llm_api_options", str(file)]
