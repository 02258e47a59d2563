"""tpb: a whole run, of session and engine worker; its bundle also says when each request was due and sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from clients.load import Load

_EVERYTHING_OPEN = 1_000_000


class Tpb:
    """Of this checkout and this interpreter."""

    name = "tpb"

    def command(self, load: Load, url: str, folder: Path) -> list[str]:
        """See `Tool`."""
        if load.rate is None:
            shape = ["load=closed", f"load.concurrency={load.streams}"]
        else:
            shape = ["load=constant", f"load.rate={load.rate}", f"load.max_concurrency={_EVERYTHING_OPEN}"]
        return [
            sys.executable, "-m", "tpb_core.cli.main", "+engine=openai", f"engine.url={url}", "meter=null", "attributor=null", *shape,
            f"load.requests={load.requests}", "prompts=synthetic", f"prompts.input_tokens={load.input_tokens}",
            f"sampling.max_output_tokens={load.output_tokens}", "run.warmup_rounds=0", "run.idle_s=0", f"out.dir={folder}",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """See `Tool`."""
        return {}

    def first_tokens_ms(self, folder: Path) -> list[float]:
        """See `Tool`; counted from when a request was sent."""
        rows = _rows(folder)
        return [float(value) for value in (rows["first_token_ns"] - rows["submitted_ns"]) / 1e6]


def sent_late_ms(folder: Path) -> npt.NDArray[np.float64]:
    """How long after it was due each request was sent, by the bundle."""
    rows = _rows(folder)
    return (rows["submitted_ns"] - rows["due_ns"]) / 1e6


def cpu_ms_a_request(folder: Path) -> tuple[float, float]:
    """CPU time of the session and of the engine worker for each request of the measurement."""
    cost = json.loads((_bundle(folder) / "manifest.json").read_text())["overhead"]
    count = len(_rows(folder)["due_ns"])
    return 1e3 * cost["session"]["measure_cpu_s"] / count, 1e3 * cost["worker"]["measure_cpu_s"] / count


def _bundle(folder: Path) -> Path:
    return max(folder.glob("2*"))


def _rows(folder: Path) -> dict[str, npt.NDArray[np.float64]]:
    table = pq.read_table(_bundle(folder) / "requests.parquet").to_pydict()
    order = [place for place in np.argsort(table["submitted_ns"], kind="stable") if table["status"][place] == "ok"]
    return {name: np.array([table[name][place] for place in order], np.float64) for name in ("due_ns", "submitted_ns", "first_token_ns")}
