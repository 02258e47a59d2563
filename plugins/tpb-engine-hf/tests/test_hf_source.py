"""Where a model comes from, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpb_core.api import BadInput
from tpb_engine_hf import HfConfig
from tpb_engine_hf.source import ModelSource, locate


def test_a_folder_a_gguf_file_and_a_hub_name(tmp_path: Path) -> None:
    (tmp_path / "weights.gguf").touch()
    assert locate(HfConfig(model=str(tmp_path))) == ModelSource(str(tmp_path))
    assert locate(HfConfig(model=str(tmp_path / "weights.gguf"))) == ModelSource(str(tmp_path), "weights.gguf")
    assert locate(HfConfig(model=str(tmp_path), gguf_file="weights.gguf")).arguments() == {"gguf_file": "weights.gguf"}
    assert locate(HfConfig(model="owner/name", revision="v1")) == ModelSource("owner/name", None, "v1")


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "~/nothing-here", "a/b/c", "nothing.gguf"])
def test_a_path_that_is_not_there(name: str) -> None:
    with pytest.raises(BadInput, match="no model at") as refusal:
        locate(HfConfig(model=name))
    assert refusal.value.fix


def test_near_misses_are_named(tmp_path: Path) -> None:
    (tmp_path / "llama-small").mkdir()
    (tmp_path / "weights-q4.gguf").touch()
    with pytest.raises(BadInput) as refusal:
        locate(HfConfig(model=str(tmp_path / "lama-small")))
    assert "llama-small" in str(refusal.value.fix)
    with pytest.raises(BadInput) as refusal:
        locate(HfConfig(model=str(tmp_path), gguf_file="weights-q5.gguf"))
    assert "weights-q4.gguf" in str(refusal.value.fix)


def test_no_model_and_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No model"):
        locate(HfConfig())
    (tmp_path / "model.bin").touch()
    with pytest.raises(BadInput, match="no GGUF"):
        locate(HfConfig(model=str(tmp_path / "model.bin")))
