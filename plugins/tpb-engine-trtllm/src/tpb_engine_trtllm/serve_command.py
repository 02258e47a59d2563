"""The command that starts trtllm-serve, and the file with its LLM arguments."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tpb_engine_trtllm import library
from tpb_engine_trtllm.config import TrtllmServeConfig
from tpb_engine_trtllm.llm_arguments import STATS_REQUESTS, plain_arguments


def write_arguments(config: TrtllmServeConfig, backend: str, file: Path) -> None:
    """Write the file for `--extra_llm_api_options`: YAML, of which JSON is a part."""
    arguments = plain_arguments(config, backend)
    if config.request_metrics:
        arguments.setdefault("perf_metrics_max_requests", STATS_REQUESTS)
    file.write_text(json.dumps(arguments, indent=1) + "\n")


def command_line(config: TrtllmServeConfig, backend: str, file: Path) -> str:
    """The command, with {host} and {port} to be filled in. Raises BadInput for a model that is not there."""
    words = [*shlex.split(config.program), library.check_model(config.model), "--host", "{host}", "--port", "{port}"]
    if config.backend != "auto" or backend == "tensorrt":
        words += ["--backend", backend]
    if config.trust_remote_code:
        words.append("--trust_remote_code")
    return shlex.join([*words, "--extra_llm_api_options", str(file)]).replace("'{host}'", "{host}").replace("'{port}'", "{port}")
