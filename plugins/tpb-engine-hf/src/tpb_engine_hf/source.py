"""Where the model comes from: a folder, a GGUF file, or a name on the hub. Standard library only."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from tpb_core.api import BadInput
from tpb_engine_hf.config import ModelOptions


@dataclass(frozen=True)
class ModelSource:
    """What `from_pretrained` is called with."""

    name: str
    """Folder or hub name."""
    gguf_file: str | None = None
    revision: str | None = None

    @property
    def label(self) -> str:
        """How the model is called in results."""
        return f"{self.name}/{self.gguf_file}" if self.gguf_file else self.name

    def arguments(self) -> dict[str, str]:
        """Keyword arguments beside the name."""
        optional = {"gguf_file": self.gguf_file, "revision": self.revision}
        return {key: value for key, value in optional.items() if value is not None}


def looks_like_path(name: str) -> bool:
    """Whether a name can only be meant as a path: hub names have at most one slash and do not start with `.`, `/` or `~`."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith(".gguf")


def locate(config: ModelOptions) -> ModelSource:
    """The source that the options name. Raises `BadInput` where a path does not exist or is no model."""
    if not config.model:
        raise BadInput("No model was named.", "Add engine.model=FOLDER, engine.model=FILE.gguf or engine.model=OWNER/NAME.")
    return locate_name(config.model, config.gguf_file, config.revision)


def locate_name(name: str, gguf_file: str | None = None, revision: str | None = None) -> ModelSource:
    """The source that a name stands for (also of draft models and tokenizers). Raises `BadInput` as `locate` does."""
    path = Path(name).expanduser()
    if path.is_dir():
        if gguf_file is not None and not (path / gguf_file).is_file():
            raise BadInput(f"There is no {gguf_file} in {path}.", _near(path, gguf_file))
        return ModelSource(str(path), gguf_file, None)
    if path.is_file():
        if path.suffix != ".gguf":
            raise BadInput(f"{path} is a file, but no GGUF file.", "Name the model's folder, or a file that ends in .gguf.")
        return ModelSource(str(path.parent), path.name, None)
    if looks_like_path(name):
        raise BadInput(f"There is no model at {path}.", _near(path.parent, path.name))
    return ModelSource(name, gguf_file, revision)


def _near(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return f"The folder {folder} does not exist either."
    near = difflib.get_close_matches(name, [entry.name for entry in folder.iterdir()], n=3)
    return f"Near misses in {folder}: {', '.join(near)}" if near else f"Look into {folder}: nothing there has a similar name."
