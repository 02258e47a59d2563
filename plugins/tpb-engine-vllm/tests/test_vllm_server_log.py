"""What a server printed about itself, read back."""

from __future__ import annotations

from pathlib import Path

from tpb_engine_vllm import VllmServeConfig
from tpb_engine_vllm.config import devices
from tpb_engine_vllm.server_log import ServerLog

LINE = (
    "(EngineCore pid=7) INFO 11-21 03:16:23 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: model='/m', "
    "speculative_config=None, tokenizer='/m', revision=None, trust_remote_code=False, dtype=torch.float32, max_seq_len=256, "
    "tensor_parallel_size=2, pipeline_parallel_size=1, data_parallel_size=1, quantization=None, enforce_eager=True, kv_cache_dtype=auto, "
    "device_config=cpu, seed=0, enable_prefix_caching=False, enable_chunked_prefill=True, compilation_config={'mode': 0}\n"
)


def test_options_that_were_printed(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    log.write_text(LINE.replace("256", "99") + "Chunked prefill is enabled with max_num_batched_tokens=2048.\n" + LINE)
    assert ServerLog(str(log)).effective_options() == {
        "dtype": "float32",
        "max_model_len": 256,
        "tensor_parallel": 2,
        "pipeline_parallel": 1,
        "data_parallel": 1,
        "quantization": "none",
        "enforce_eager": True,
        "kv_cache_dtype": "auto",
        "trust_remote_code": False,
        "prefix_cache": False,
        "chunked_prefill": True,
        "max_num_batched_tokens": 2048,
    }
    assert ServerLog(str(log)).device_kind() == "cpu"


def test_a_server_that_printed_nothing_has_no_effective_options(tmp_path: Path) -> None:
    for path in (None, str(tmp_path / "none.log")):
        assert (ServerLog(path).effective_options(), ServerLog(path).device_kind()) == ({}, None)


def test_devices_of_replicas_follow_each_other() -> None:
    config = VllmServeConfig(tensor_parallel=2, pipeline_parallel=2, data_parallel=2)
    assert devices(config, "cuda", 1) == ["cuda:4", "cuda:5", "cuda:6", "cuda:7"]
    assert (devices(config, "cpu", 1), devices(config, None)) == (["cpu"], [])
