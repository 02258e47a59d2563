"""A stand-in of trtllm-serve in a process of its own, for tests that talk to a running server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, str(Path(__file__).parent / "double" / "trtllm_serve.py")]
STATISTICS = {
    "enable_iter_perf_stats": True, "enable_iter_req_stats": True, "return_perf_metrics": True, "perf_metrics_max_requests": 100,
    "disable_overlap_scheduler": True,
}  # fmt: skip


@contextlib.contextmanager
def serving(
    model: Path, arguments: dict[str, Any] | None = None, *, double: dict[str, Any] | None = None, **behaviour: Any
) -> Iterator[str]:
    """The address of a server with these LLM arguments; `double` goes to the library's stand-in, `behaviour` to the server's."""
    file = model / "arguments.yaml"
    file.write_text(json.dumps(STATISTICS if arguments is None else arguments))
    environ = {**os.environ, "TRTLLM_SERVE_DOUBLE": json.dumps(behaviour), "TRTLLM_DOUBLE": json.dumps(double or {})}
    words = [*PROGRAM, str(model), "--host", "127.0.0.1", "--port", "0", "--extra_llm_api_options", str(file)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def get(url: str) -> tuple[int, Any]:
    """Status and JSON of a page."""
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
