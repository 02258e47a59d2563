"""Load tokenizer and model through Transformers, with errors that say what to type. Imports torch and transformers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tpb_core.api import BadInput, Reason, Unavailable
from tpb_engine_hf.config import HfConfig, ModelOptions
from tpb_engine_hf.generation import SpecialIds
from tpb_engine_hf.source import ModelSource, locate_name

INSTALL = 'Install torch for this machine, then: pip install "transformers>=5.20,<6" accelerate gguf sentencepiece protobuf'


def library_version() -> str:
    """Version of transformers in this interpreter. Raises `Unavailable` where it or torch cannot be imported."""
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise Unavailable(f"Transformers cannot be used in this interpreter: {error}.", reason=Reason.NOT_INSTALLED, fix=INSTALL) from error
    return str(transformers.__version__)


def quieten() -> None:
    """No progress bars and no telemetry: the worker's output is a log, and nothing about a run leaves the machine."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


@contextmanager
def _explained(source: ModelSource, what: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:  # a quantisation or attention library that is not there
        raise Unavailable(
            f"{what} of {source.label} needs a library that is not installed: {error}", reason=Reason.NOT_INSTALLED
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"{what} of {source.label} cannot be loaded: {first_line}",
            "Check engine.model: a folder with config.json, a .gguf file, or a name that the hub knows and this machine can reach.",
        ) from error


def torch_dtype(name: str) -> Any:
    """The torch dtype of an option, or `auto`."""
    import torch

    return name if name == "auto" else getattr(torch, name)


def load_tokenizer(config: ModelOptions, source: ModelSource) -> Any:
    """The tokenizer, set to pad on the left. Raises `BadInput`, `Unavailable`."""
    from transformers import AutoTokenizer

    own = locate_name(config.tokenizer) if config.tokenizer else source
    with _explained(own, "The tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(own.name, trust_remote_code=config.trust_remote_code, **own.arguments())
    tokenizer.padding_side = "left"
    return tokenizer


def chosen_device(config: HfConfig) -> str:
    """The torch device that the options mean. Raises `BadInput` for one that is not there."""
    import torch

    if config.device == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(config.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(
            f"engine.device={config.device} is no device of this machine: {reason}", "Use engine.device=auto or engine.device=cpu."
        ) from error
    return str(device)


def quantization_argument(config: HfConfig) -> dict[str, Any]:
    """The argument `quantization_config` of `from_pretrained`, or nothing. Raises `BadInput` for an unknown method or argument."""
    if config.quantization == "none":
        if config.quantization_options:
            raise BadInput(
                "engine.quantization_options is set, but engine.quantization is none.",
                "Name the method, for example engine.quantization=bitsandbytes.",
            )
        return {}
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as METHODS

    method, extra = config.quantization, dict(config.quantization_options)
    if method == "bitsandbytes":
        method = "bitsandbytes_4bit" if extra.get("load_in_4bit") else "bitsandbytes_8bit"
        extra.setdefault("load_in_8bit", method == "bitsandbytes_8bit")
    if method not in METHODS:
        names = ", ".join(sorted({"bitsandbytes", *METHODS}))
        raise BadInput(f"Transformers knows no quantisation method {config.quantization!r}.", f"It knows: {names}.")
    try:
        return {"quantization_config": METHODS[method](**extra)}
    except ImportError as error:
        raise Unavailable(f"engine.quantization={config.quantization}: {error}", reason=Reason.NOT_INSTALLED) from error
    except (TypeError, ValueError) as error:
        raise BadInput(
            f"engine.quantization_options does not fit {config.quantization}: {error}", "See Transformers' page of that method."
        ) from error


def load_model(config: ModelOptions, source: ModelSource, **arguments: Any) -> Any:
    """The model in evaluation mode. `arguments` go to `from_pretrained`. Raises `BadInput`, `Unavailable`."""
    from transformers import AutoModelForCausalLM

    attention = {} if config.attention == "auto" else {"attn_implementation": config.attention}
    with _explained(source, "The model"):
        model = AutoModelForCausalLM.from_pretrained(
            source.name,
            dtype=torch_dtype(config.dtype),
            trust_remote_code=config.trust_remote_code,
            **source.arguments(),
            **attention,
            **arguments,
        )
    model.requires_grad_(False)
    return model.eval()


def special_ids(model: Any, tokenizer: Any) -> SpecialIds:
    """Token ids that end an output (the model's and the tokenizer's) and the one that fills."""
    named = [model.generation_config.eos_token_id, model.config.get_text_config().eos_token_id, tokenizer.eos_token_id]
    end: set[int] = set()
    for value in named:
        end |= set(value) if isinstance(value, (list, tuple)) else {value} if value is not None else set()
    padding = next((int(token) for token in (tokenizer.pad_token_id, *sorted(end)) if token is not None), 0)
    return SpecialIds(frozenset(end), padding)


def forget_defaults(model: Any) -> None:
    """Remove what the checkpoint would add to a request's sampling behind its back."""
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig()
