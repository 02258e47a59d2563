"""guidellm, over the completions API. Its worker processes share the load."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from clients.load import Load

_RESULT = "guidellm.json"


@dataclass(frozen=True)
class GuideLlm:
    """`python` has guidellm; `tokenizer` is a folder."""

    python: str
    tokenizer: str
    name: str = "guidellm"

    def command(self, load: Load, url: str, folder: Path) -> list[str]:
        """See `Tool`."""
        shape = f"kind=concurrent,streams={load.streams}" if load.rate is None else f"kind=constant,rate={load.rate}"
        return [
            self.python, "-m", "guidellm", "run", "--disable-console", "--backend",
            f"kind=openai_http,target={url},model=double,request_format=/v1/completions", "--profile", shape, "--constraint",
            f"kind=max_requests,count={load.requests}", "--tokenizer", f"kind=hf_auto,model={self.tokenizer}", "--data",
            f"kind=synthetic_text,prompt_tokens={load.input_tokens},output_tokens={load.output_tokens}", "--output",
            f"kind=json,path={folder / _RESULT}",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """See `Tool`."""
        return {"HF_HUB_OFFLINE": "1"}

    def first_tokens_ms(self, folder: Path) -> list[float]:
        """See `Tool`."""
        rows = json.loads((folder / _RESULT).read_text())["benchmarks"][0]["requests"]["successful"]
        return [row["time_to_first_token_ms"] for row in sorted(rows, key=lambda row: row["request_start_time"])]
