"""What every minimal loop is told, and how it tells when its batches ran."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_job() -> dict[str, Any]:
    """The file named on the command line: `model`, `threads`, `batch`, `tokens`, `context_tokens`, `prompts` (token ids of one batch)."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return job


def repeat(batch: Callable[[], object]) -> None:
    """One batch to warm up and an empty line, then batches until killed: of each a line with its beginning and end (CLOCK_MONOTONIC, s)."""
    batch()
    print(flush=True)
    while True:
        begin = time.monotonic()
        batch()
        print(begin, time.monotonic(), flush=True)
