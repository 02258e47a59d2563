"""`vllm bench serve`, over the completions API. It sends one request to try the server before it begins."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from clients.load import Load

_RESULT = "vllm.json"
# What the command does; the command itself does not start where the distribution is not called vllm, as with builds for CPUs.
_SERVE = """
from vllm.benchmarks.serve import add_cli_args, main
from vllm.utils.argparse_utils import FlexibleArgumentParser
parser = FlexibleArgumentParser()
add_cli_args(parser)
main(parser.parse_args())
"""


@dataclass(frozen=True)
class VllmBench:
    """`python` has vLLM; `tokenizer` is a folder."""

    python: str
    tokenizer: str
    name: str = "vllm bench"

    def command(self, load: Load, url: str, folder: Path) -> list[str]:
        """See `Tool`. An infinite burstiness is equal gaps."""
        shape = ["--request-rate", "inf", "--max-concurrency", str(load.streams)]
        if load.rate is not None:
            shape = ["--request-rate", str(load.rate), "--burstiness", "inf"]
        return [
            self.python, "-c", _SERVE, "--backend", "openai", "--base-url", url, "--endpoint", "/v1/completions", "--model", "double",
            "--tokenizer", self.tokenizer, "--dataset-name", "random", "--random-input-len", str(load.input_tokens),
            "--random-output-len", str(load.output_tokens), "--ignore-eos", *shape, "--num-prompts", str(load.requests), "--disable-tqdm",
            "--save-result", "--save-detailed", "--result-dir", str(folder), "--result-filename", _RESULT,
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """See `Tool`."""
        return {"HF_HUB_OFFLINE": "1"}

    def first_tokens_ms(self, folder: Path) -> list[float]:
        """See `Tool`."""
        told = json.loads((folder / _RESULT).read_text())
        rows = zip(told["start_times"], told["ttfts"], told["errors"], strict=True)
        return [1e3 * ttft_s for _, ttft_s, error in sorted(rows) if not error]
