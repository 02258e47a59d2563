"""The Transformers engine under the conformance suite, static batches and continuous batching."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpb_core.testing.engine_suite import EngineSuite
from tpb_engine_hf import HfConfig

pytestmark = pytest.mark.real_engine


class TestHf(EngineSuite):
    @pytest.fixture
    def config(self, tiny_llama: Path) -> HfConfig:
        return HfConfig(model=str(tiny_llama), device="cpu", kv_page_tokens=16)  # small pages, so that a prefix could be shared
