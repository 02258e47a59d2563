"""The models that the options name: the one that is measured, draft model, adapter, tokenizer. Looked up before vLLM is imported."""

from __future__ import annotations

from pathlib import Path

from tpb_core.api import BadInput
from tpb_engine_hf.source import ModelSource, locate_name
from tpb_engine_vllm.config import TuningOptions


def find_models(config: TuningOptions) -> ModelSource:
    """The source of the model. Raises `BadInput` where it, or another that is named as a path, is not there."""
    if not config.model:
        raise BadInput("No model was named.", "Add engine.model=FOLDER, engine.model=FILE.gguf or engine.model=OWNER/NAME.")
    for name in (config.tokenizer, config.speculative_model, config.lora):
        if name is not None:
            locate_name(name)
    return locate_name(config.model, None, config.revision)


def model_argument(source: ModelSource) -> str:
    """What vLLM takes as `model`."""
    return str(Path(source.name) / source.gguf_file) if source.gguf_file else source.name
