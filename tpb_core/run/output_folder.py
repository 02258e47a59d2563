"""The folder of results, looked at before anything heavy begins."""

from __future__ import annotations

import os
from pathlib import Path

from tpb_core.api.errors import BadInput


def check_output_folder(folder: Path) -> None:
    """Make the folder of results and try to write in it, before anything heavy. Raises BadInput."""
    probe = folder / f".tpb-write-test-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(
            f"out.dir={folder}: no results can be written there ({error.strerror}).",
            "Name a folder of yours, for example:  out.dir=$HOME/tpb-runs",
        ) from error
