"""Options become vLLM's engine arguments, by name and as words; what contradicts itself is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tpb_core.api import BadInput, Refused
from tpb_core.api.engine import EngineContext
from tpb_core.testing.engine_session import SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_vllm import VllmConfig, VllmEngine, VllmServeConfig, VllmServeEngine
from tpb_engine_vllm.arguments import engine_arguments, environment, server_words
from tpb_engine_vllm.serve import client_options, server_command

EVERYTHING: dict[str, Any] = {
    "revision": "main", "tokenizer": "/t", "trust_remote_code": True, "dtype": "bfloat16", "quantization": "fp8",
    "kv_cache_dtype": "fp8_e4m3",
    "tensor_parallel": 2, "pipeline_parallel": 2, "data_parallel": 2, "expert_parallel": True, "max_num_seqs": 64,
    "max_num_batched_tokens": 4096, "max_model_len": 8192, "chunked_prefill": False, "async_scheduling": True, "enforce_eager": True,
    "gpu_memory_utilization": 0.8, "kv_cache_gib": 1.5, "speculative_method": "ngram", "speculative_tokens": 3, "ngram_max_tokens": 4,
    "ngram_min_tokens": 2, "lora": "/adapter", "lora_max_rank": 32, "args": {"block_size": 32}, "prefix_cache": True,
}  # fmt: skip


def test_nothing_is_asked_of_vllm_that_the_user_did_not_ask() -> None:
    assert engine_arguments(VllmConfig(model="/m"), "/m") == {"model": "/m", "enable_prefix_caching": False}


@pytest.mark.parametrize(
    ("options", "size"),
    [({}, 5), ({"kv_cache_gib": 1.0}, 2**30), ({"gpu_memory_utilization": 0.5}, None), ({"args": {"block_size": 32}}, 5)],
)
def test_a_size_of_the_kv_cache_is_only_added_where_no_option_says_one(options: dict[str, Any], size: int | None) -> None:
    assert engine_arguments(VllmConfig(model="/m", **options), "/m", 5).get("kv_cache_memory_bytes") == size


def test_every_option_reaches_vllm_under_its_own_name() -> None:
    assert engine_arguments(VllmConfig(model="/m", **EVERYTHING), "/m") == {
        "model": "/m",
        "enable_prefix_caching": True,
        "revision": "main",
        "tokenizer": "/t",
        "trust_remote_code": True,
        "dtype": "bfloat16",
        "quantization": "fp8",
        "kv_cache_dtype": "fp8_e4m3",
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 2,
        "data_parallel_size": 2,
        "enable_expert_parallel": True,
        "max_num_seqs": 64,
        "max_num_batched_tokens": 4096,
        "max_model_len": 8192,
        "enable_chunked_prefill": False,
        "async_scheduling": True,
        "enforce_eager": True,
        "gpu_memory_utilization": 0.8,
        "kv_cache_memory_bytes": 1_610_612_736,
        "speculative_config": {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4, "prompt_lookup_min": 2},
        "enable_lora": True,
        "max_lora_rank": 32,
        "block_size": 32,
    }


def test_no_option_is_forgotten() -> None:
    reach_it_otherwise = {"name", "python", "model", "start_timeout_s", "speculative_model", "threads"}
    assert {field.name for field in dataclasses.fields(VllmConfig)} - reach_it_otherwise == EVERYTHING.keys()


@pytest.mark.real_engine
def test_vllm_knows_every_argument() -> None:
    from vllm import EngineArgs

    known = {field.name for field in dataclasses.fields(EngineArgs)}
    assert engine_arguments(VllmConfig(model="/m", **EVERYTHING), "/m").keys() <= known


@pytest.mark.real_engine
def test_vllms_server_understands_every_word() -> None:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    command = server_command(VllmServeConfig(model="/m", **EVERYTHING), "/m")
    words = [word.format(host="127.0.0.1", port="8000") if word in ("{host}", "{port}") else word for word in command[3:]]
    told = make_arg_parser(FlexibleArgumentParser()).parse_args(words)
    assert (told.tensor_parallel_size, told.enable_prefix_caching, told.enable_chunked_prefill) == (2, True, False)
    assert told.speculative_config == {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4, "prompt_lookup_min": 2}
    assert told.lora_modules[0].path == "/adapter"
    assert (told.max_model_len, told.kv_cache_memory_bytes, told.async_scheduling) == (8192, 1_610_612_736, True)


def test_a_draft_model_needs_only_its_name() -> None:
    told = engine_arguments(VllmConfig(model="/m", speculative_model="/d", speculative_tokens=5), "/m")
    assert told["speculative_config"] == {"method": "draft_model", "num_speculative_tokens": 5, "model": "/d"}


@pytest.mark.parametrize(
    ("options", "what", "fix"),
    [
        ({"speculative_method": "draft_model"}, "not named", "engine.speculative_model="),
        ({"speculative_method": "ngram", "speculative_model": "/d"}, "no draft model", "engine.speculative_model"),
        ({"ngram_max_tokens": 4}, "n-gram look-up", "engine.speculative_method=ngram"),
        ({"lora_max_rank": 8}, "no adapter", "engine.lora="),
        ({"args": {"tensor_parallel_size": 2}}, "tensor_parallel_size", "engine.tensor_parallel="),
        ({"args": {"enable_prefix_caching": True}}, "enable_prefix_caching", "--help"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any], what: str, fix: str) -> None:
    with pytest.raises(BadInput, match=what) as refusal:
        engine_arguments(VllmConfig(model="/m", **options), "/m")
    assert fix in str(refusal.value.fix)


def test_words_of_the_server() -> None:
    told = {"enforce_eager": True, "enable_chunked_prefill": False, "block_size": 32, "speculative_config": {"method": "ngram"}, "x": None}
    assert server_words({**told, "cudagraph_capture_sizes": [1, 2]}) == [
        "--enforce-eager", "--no-enable-chunked-prefill", "--block-size", "32", "--speculative-config", '{"method": "ngram"}',
        "--cudagraph-capture-sizes", "1", "2",
    ]  # fmt: skip


def test_the_server_is_reached_as_the_options_say() -> None:
    config = VllmServeConfig(model="/m", lora="/adapter", api="chat", port=9, start_timeout_s=7.0)
    client = client_options(config)
    assert (client.server, client.model, client.api, client.port, client.start_timeout_s) == ("vllm", "adapter", "chat", 9, 7.0)
    assert client.token_ids is False  # chat takes no token ids
    assert "adapter=/adapter" in server_command(config, "/m")
    assert "--no-enable-prefix-caching" in server_command(config, "/m")


def test_threads_are_told_by_the_environment() -> None:
    assert environment(VllmConfig(threads=3)).items() >= {"OMP_NUM_THREADS": "3", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}.items()
    assert "OMP_NUM_THREADS" not in environment(VllmConfig())


def test_only_what_was_asked_for_counts_as_requested() -> None:
    assert VllmConfig(model="/m", prefix_cache=True, start_timeout_s=3.0).requested() == {}
    assert VllmServeConfig(model="/m", port=1, dtype="float32").requested() == {"dtype": "float32"}


@pytest.mark.parametrize("engine_class", [VllmEngine, VllmServeEngine])
def test_engines_that_are_not_installed_say_what_to_type(engine_class: Any) -> None:
    import importlib.util

    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed here")
    from tpb_core.api import Unavailable

    with pytest.raises(Unavailable, match="not installed") as refusal:
        engine_class.check()
    assert "tpb env create vllm" in str(refusal.value.fix)


@pytest.mark.real_engine
def test_replicas_are_for_the_server(tmp_path: Any) -> None:
    engine = VllmEngine(VllmConfig(model=str(tmp_path), data_parallel=2), EngineContext(SuiteClock(), "r"))
    with pytest.raises(Refused, match="replicas") as refusal:
        engine.open(RecordingSink())
    assert "vllm_serve" in str(refusal.value.fix)
