"""Which folders a path stands for: a bundle, a study's outputs, or a folder that holds them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.api.errors import BadInput
from tpb_core.store.manifest import MANIFEST
from tpb_core.store.schema import OUTPUT_TABLES

STUDIES = "studies"


@dataclass
class Places:
    """Folders, each once, in the order of their names."""

    bundles: list[Path] = field(default_factory=list)
    studies: list[Path] = field(default_factory=list)


def places_of(paths: Iterable[Path]) -> Places:
    """Bundles and study folders under the paths, two levels deep. Raises BadInput for a path without any."""
    bundles: dict[Path, None] = {}
    studies: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            raise BadInput(f"there is no folder {path}", "Give a run (runs/<run_id>) or a folder of runs (runs).")
        candidates = [path, *_folders(path), *_folders(path / STUDIES)]
        found = [folder for folder in candidates if (folder / MANIFEST).is_file()]
        outputs = [folder for folder in candidates if folder.parent.name == STUDIES and _has_outputs(folder)]
        if not found and not outputs:
            raise BadInput(f"{path} holds no run", "A run is a folder with a manifest.json, for example runs/<run_id>.")
        bundles |= dict.fromkeys(found)
        studies |= dict.fromkeys(outputs)
    return Places(sorted(bundles), sorted(studies))


def _folders(path: Path) -> list[Path]:
    return [each for each in path.iterdir() if each.is_dir()] if path.is_dir() else []


def _has_outputs(folder: Path) -> bool:
    return not (folder / MANIFEST).exists() and any((folder / f"{table}.parquet").exists() for table in OUTPUT_TABLES)
