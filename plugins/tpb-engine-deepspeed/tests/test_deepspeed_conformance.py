"""The DeepSpeed engine under the conformance suite, on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpb_core.testing.engine_suite import EngineSuite
from tpb_engine_deepspeed import DeepSpeedConfig

pytestmark = pytest.mark.real_engine


class TestDeepSpeed(EngineSuite):
    @pytest.fixture
    def config(self, tiny_llama: Path) -> DeepSpeedConfig:
        return DeepSpeedConfig(model=str(tiny_llama), accelerator="cpu")
