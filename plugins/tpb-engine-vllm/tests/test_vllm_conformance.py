"""vLLM under the conformance suite, offline and served. The CPU build does; a GPU takes the same tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpb_core.testing.engine_suite import EngineSuite
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_vllm import VllmConfig, VllmServeConfig

pytestmark = [pytest.mark.real_engine, pytest.mark.timeout(600)]
SMALL = {"dtype": "float32", "enforce_eager": True, "max_model_len": 256, "max_num_seqs": 8, "kv_cache_gib": 0.125}


class TestVllm(EngineSuite):
    @pytest.fixture
    def config(self, tiny_llama: Path) -> VllmConfig:
        return VllmConfig(model=str(tiny_llama), **SMALL)

    def test_nothing_is_left_after_close(self, config: VllmConfig, sink: RecordingSink) -> None:
        """vLLM has one engine in a process, so the one of the other tests goes first."""
        self.teardown_class()
        super().test_nothing_is_left_after_close(config, sink)


class TestVllmServe(EngineSuite):
    @pytest.fixture
    def config(self, tiny_llama: Path) -> VllmServeConfig:
        return VllmServeConfig(model=str(tiny_llama), **SMALL)
