"""aiperf, over the completions API. It starts as many workers as it thinks right for the machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from clients.load import Load

_SCALE = {"ms": 1.0, "s": 1e3, "us": 1e-3, "ns": 1e-6}


@dataclass(frozen=True)
class AiPerf:
    """`python` has aiperf; `tokenizer` is a folder, which it loads only where nothing tells it that there is no network."""

    python: str
    tokenizer: str
    name: str = "aiperf"

    def command(self, load: Load, url: str, folder: Path) -> list[str]:
        """See `Tool`."""
        shape = ["--concurrency", str(load.streams)]
        if load.rate is not None:
            shape = ["--request-rate", str(load.rate), "--arrival-pattern", "constant"]
        return [
            self.python, "-m", "aiperf", "profile", "-m", "double", "--endpoint-type", "completions", "--streaming", "-u", url, *shape,
            "--request-count", str(load.requests), "--tokenizer", self.tokenizer, "--isl", str(load.input_tokens), "--osl",
            str(load.output_tokens), "--extra-inputs", "ignore_eos:true", "--use-legacy-max-tokens", "--ui", "none", "--no-server-metrics",
            "--no-gpu-telemetry", "--output-artifact-dir", str(folder / "aiperf"),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """See `Tool`."""
        return {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": ""}

    def first_tokens_ms(self, folder: Path) -> list[float]:
        """See `Tool`."""
        rows = [json.loads(line) for line in (folder / "aiperf" / "profile_export.jsonl").read_text().splitlines()]
        rows = sorted((row for row in rows if row.get("error") is None), key=lambda row: row["metadata"]["request_start_ns"])
        first = [row["metrics"]["time_to_first_token"] for row in rows]
        return [_SCALE[value["unit"]] * value["value"] for value in first]
