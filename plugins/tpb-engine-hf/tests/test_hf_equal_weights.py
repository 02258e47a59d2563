"""The folder and the GGUF file that `equal_weights` writes hold the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = [pytest.mark.real_engine, pytest.mark.slow, pytest.mark.timeout(900)]


def test_both_forms_give_the_same_tensors_and_token_ids(smollm2: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tpb_engine_hf.equal_weights import write_both

    kind = torch.bfloat16
    float_file, folder = write_both(smollm2, tmp_path, "bfloat16")
    source = AutoModelForCausalLM.from_pretrained(str(smollm2.parent), gguf_file=smollm2.name, dtype=kind).state_dict()
    as_file = AutoModelForCausalLM.from_pretrained(str(tmp_path), gguf_file=float_file.name, dtype=kind).state_dict()
    as_folder = AutoModelForCausalLM.from_pretrained(folder, dtype=kind).state_dict()
    assert source.keys() == as_file.keys() == as_folder.keys()
    for name, tensor in source.items():
        assert torch.equal(as_file[name], tensor), name
        assert torch.equal(as_folder[name], tensor), name
    text = "Write one sentence about dogs, über alles."
    assert (
        AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
        == AutoTokenizer.from_pretrained(str(smollm2.parent), gguf_file=smollm2.name)(text)["input_ids"]
    )
