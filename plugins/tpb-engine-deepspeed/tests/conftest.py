"""A tiny Llama with random weights for all tests of this plugin, and a clean skip where DeepSpeed is not installed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

HAS_DEEPSPEED = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers", "deepspeed"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs DeepSpeed where it is not installed."""
    if HAS_DEEPSPEED:
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("real_engine"):
            item.add_marker(pytest.mark.skip(reason="torch and deepspeed are not installed in this interpreter (nox -s deepspeed)"))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the model."""
    from tpb_engine_hf.tiny import write_tiny_llama

    return write_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))
