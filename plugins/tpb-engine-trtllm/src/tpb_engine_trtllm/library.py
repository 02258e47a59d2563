"""The library itself: whether it is here, which of its LLM classes a model needs, and which arguments that class takes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from tpb_core.api import BadInput, Reason, Unavailable
from tpb_engine_trtllm.config import TuningOptions

INSTALL = (
    "It needs an NVIDIA GPU and an environment of its own:  pip install tensorrt-llm --extra-index-url https://pypi.nvidia.com   "
    "or NVIDIA's container nvcr.io/nvidia/tensorrt-llm/release, with engine.python=PATH"
)


def version() -> str:
    """Version of tensorrt_llm in this interpreter. Raises Unavailable where it cannot be imported."""
    return str(load("tensorrt_llm").__version__)


def load(name: str) -> Any:
    """A module of the library. Raises Unavailable. Importing takes tens of seconds and claims the GPU."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Unavailable(f"TensorRT-LLM cannot be used in this interpreter: {error}", reason=Reason.NOT_INSTALLED, fix=INSTALL) from error
    except (OSError, RuntimeError) as error:  # no driver, or a CUDA library of another version
        raise Unavailable(f"TensorRT-LLM does not start here: {error}", reason=Reason.UNSUPPORTED, fix=INSTALL) from error


def is_engine_folder(model: str | None) -> bool:
    """Whether `model` is a folder that `trtllm-build` wrote: `config.json` with `build_config`, and `rank0.engine`."""
    folder = Path(model or "").expanduser()
    if model is None or not (folder / "rank0.engine").is_file():
        return False
    try:
        document = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "build_config" in document


def chosen_backend(config: TuningOptions) -> str:
    """`pytorch` or `tensorrt`. Raises BadInput where model and back end do not fit."""
    built = is_engine_folder(config.model)
    if config.backend == "pytorch" and built:
        raise BadInput(
            f"engine.model={config.model} holds built engine files, which the PyTorch back end does not read",
            "Leave engine.backend out, or give the checkpoint that they were built from.",
        )
    if config.backend == "auto":
        return "tensorrt" if built else "pytorch"
    return config.backend


def llm_class(backend: str) -> Any:
    """The class `LLM` of a back end. Raises Unavailable where this release has none."""
    if backend == "pytorch":
        return load("tensorrt_llm").LLM
    load("tensorrt_llm")
    try:
        return importlib.import_module("tensorrt_llm._tensorrt_engine").LLM
    except (ImportError, AttributeError) as error:
        raise Unavailable(
            "this release of TensorRT-LLM has no TensorRT back end any more, so it cannot run built engine files",
            reason=Reason.UNSUPPORTED,
            fix="Give the Hugging Face checkpoint (engine.model=), or use an older release.",
        ) from error


def accepted(backend: str) -> Collection[str] | None:
    """Names of the arguments that `LLM(...)` of a back end takes; None where the release does not tell."""
    arguments = load("tensorrt_llm.llmapi.llm_args")
    fields = getattr(getattr(arguments, "TorchLlmArgs" if backend == "pytorch" else "TrtLlmArgs", None), "model_fields", None)
    return None if fields is None else set(fields)


def check_model(model: str | None) -> str:
    """The model as it was given. Raises BadInput where it names a path that is not there."""
    if not model:
        raise BadInput("engine.model is missing", "Type for example engine.model=Qwen/Qwen3-8B, or a folder.")
    path = Path(model).expanduser()
    looks_like_path = model.startswith(("/", "./", "../", "~")) or model.count("/") > 1
    if looks_like_path and not path.exists():
        raise BadInput(f"engine.model={model}: there is no such folder", "Give the folder of a checkpoint or of built engine files.")
    return str(path) if path.exists() else model
