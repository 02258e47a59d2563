"""A tiny Llama with random weights for all tests of this plugin, and a clean skip where vLLM is not installed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

HAS_VLLM = all(importlib.util.find_spec(name) is not None for name in ("torch", "vllm"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs vLLM where it is not installed; where it is, its own warnings are no failures."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("real_engine"):
            item.add_marker(pytest.mark.filterwarnings("default"))
            if not HAS_VLLM:
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed in this interpreter (nox -s vllm)"))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the model; heads of 32, which is the smallest that vLLM's attention on CPUs takes."""
    from tpb_engine_hf.tiny import write_tiny_llama

    return write_tiny_llama(tmp_path_factory.mktemp("tiny-llama"), hidden=128)
