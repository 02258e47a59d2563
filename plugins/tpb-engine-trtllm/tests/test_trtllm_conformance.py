"""The engine under the conformance suite, on the stand-in: with a step log, with drawn tokens, and with built engine files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tpb_core.testing.engine_suite import EngineSuite
from tpb_engine_trtllm import TrtllmConfig


class TestPyTorch(EngineSuite):
    @pytest.fixture
    def config(self, model: Path) -> TrtllmConfig:
        return TrtllmConfig(model=str(model), overlap_scheduler=False)


class TestDrawnTokensAndChunks(EngineSuite):
    @pytest.fixture
    def config(self, model: Path) -> TrtllmConfig:
        return TrtllmConfig(
            model=str(model), overlap_scheduler=False, sampler="TRTLLMSampler", chunked_prefill=True, max_num_tokens=32, max_batch_size=8
        )


class TestWithoutStepLog(EngineSuite):
    @pytest.fixture
    def config(self, model: Path) -> TrtllmConfig:
        return TrtllmConfig(model=str(model), step_log=False)


class TestBuiltEngineFiles(EngineSuite):
    @pytest.fixture
    def config(self, model: Path, tmp_path_factory: pytest.TempPathFactory) -> TrtllmConfig:
        folder = model.parent / "built"
        folder.mkdir(exist_ok=True)
        (folder / "rank0.engine").write_bytes(b"\0")
        (folder / "config.json").write_text(json.dumps({"pretrained_config": {}, "build_config": {}}))
        return TrtllmConfig(model=str(folder))
