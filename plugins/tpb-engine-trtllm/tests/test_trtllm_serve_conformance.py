"""The served engine under the conformance suite: a stand-in of trtllm-serve that tpb starts, and one that runs already."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tpb_core.testing.engine_suite import EngineSuite
from tpb_engine_trtllm import TrtllmServeConfig

PROGRAM = shlex.join([sys.executable, str(Path(__file__).parent / "double" / "trtllm_serve.py")])


class TestStartedServer(EngineSuite):
    @pytest.fixture
    def config(self, model: Path) -> TrtllmServeConfig:
        return TrtllmServeConfig(model=str(model), program=PROGRAM, overlap_scheduler=False)


class TestDrawnTokens(EngineSuite):
    @pytest.fixture
    def config(self, model: Path) -> TrtllmServeConfig:
        return TrtllmServeConfig(model=str(model), program=PROGRAM, overlap_scheduler=False, sampler="TRTLLMSampler")
