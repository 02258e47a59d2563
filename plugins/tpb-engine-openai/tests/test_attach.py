"""`tpb attach` as people type it, against the stand-in under a little traffic, with a meter that prints a known power."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tpb_core.cli.attach import look_at, with_server
from tpb_core.store.results import results_of
from tpb_core.testing.openai_double import OpenAiDouble

Start = Callable[..., OpenAiDouble]


def tpb(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tpb_core.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=folder, check=False)


@pytest.fixture
def busy(new_double: Start) -> Iterator[OpenAiDouble]:
    """A stand-in with one client that asks again and again."""
    double, over = new_double(token_s=0.01), threading.Event()

    def ask() -> None:
        body = json.dumps({"prompt": "hello", "max_tokens": 50, "ignore_eos": True, "stream": True})
        while not over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", double.port)
            connection.request("POST", "/v1/completions", body)
            connection.getresponse().read()
            connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    yield double
    over.set()
    thread.join(10)


@pytest.mark.slow
def test_joules_per_token_of_the_whole_and_over_time(busy: OpenAiDouble, tmp_path: Path) -> None:
    watts = tmp_path / "watts.sh"
    watts.write_text("#!/bin/sh\nwhile true; do echo 100; sleep 0.05; done\n")
    watts.chmod(0o755)
    done = tpb(
        "attach", f"localhost:{busy.port}", "--for", "4", "--every", "2s", "+meter=[command]", f"meter.command.command={watts}",
        "meter.command.channels={wall: 1 W node}", "meter.command.averaging_ms=0", folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "double at localhost" in done.stderr
    assert "tokens/s" in done.stdout
    (bundle,) = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    rows = {row["window"]: row for row in results_of(bundle) if row["scope"] == "total"}
    whole = rows["measure"]
    assert whole["output_tokens"] == pytest.approx(400, rel=0.15)  # a token each 10 ms, a little pause between requests
    assert whole["j_per_output_token"] == pytest.approx(100 * whole["duration_s"] / whole["output_tokens"], rel=0.02)
    assert (whole["requests"], whole["j_per_request"], whole["ttft_p50_ms"]) == (None, None, None)
    assert {"measure/0", "measure/1"} <= set(rows)
    slices = [rows["measure/0"], rows["measure/1"]]
    assert sum(row["output_tokens"] for row in slices) == pytest.approx(whole["output_tokens"], abs=2)


@pytest.mark.slow
def test_ctrl_c_ends_it_in_good_order(busy: OpenAiDouble, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tpb_core.cli.main", "attach", f"localhost:{busy.port}", "--for", "1h"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not _opened(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2.0)
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=90)
    assert process.returncode == 0, told
    assert "output tokens" in out
    (bundle,) = [path for path in (tmp_path / "runs").iterdir() if path.is_dir()]
    (row,) = [row for row in results_of(bundle) if row["scope"] == "total" and row["window"] == "measure"]
    assert row["status"] == "complete"
    assert row["output_tokens"] > 50


def _opened(folder: Path) -> bool:
    """Whether the window is open: the manifest is there, and the session has written of it."""
    return any("measure" in path.read_bytes().decode("latin-1") for path in folder.glob("runs/*/spool/windows-session.*"))


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "needs the address"),
        (("http://localhost:9",), "does not answer"),
        (("localhost:8000", "localhost:8001"), "two addresses"),
        (("ftp://localhost",), "only http"),
        (("localhost:8000", "--for", "soon"), "not a length of time"),
        (("localhost:8000", "--with", "x=1"), "two addresses|no flag"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_type(words: tuple[str, ...], what: str, tmp_path: Path) -> None:
    done = tpb("attach", *words, folder=tmp_path)
    assert done.returncode == 2
    import re

    assert re.search(what, done.stderr), done.stderr
    assert "Type" in done.stderr or "curl" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_server_without_metrics_is_bad_input(new_double: Start, tmp_path: Path) -> None:
    done = tpb("attach", new_double(has_metrics=False).url, folder=tmp_path)
    assert done.returncode == 2
    assert "/metrics answers HTTP 404" in done.stderr
    assert "--enable-metrics" in done.stderr


def test_the_server_joins_the_meters_that_were_chosen() -> None:
    end = ["meter.server.url=http://h:1", "meter.server.required=true"]
    assert with_server([], "http://h:1") == end
    assert with_server(["+meter=[nvml,rapl]", "out.dir=x"], "http://h:1") == ["meter=[nvml,rapl,server]", "out.dir=x", *end]
    assert with_server(["meter=auto"], "http://h:1") == ["meter=auto", *end]


def test_looking_tells_who_is_there(new_double: Start) -> None:
    double = new_double()
    assert look_at(f"127.0.0.1:{double.port}") == {"url": double.url, "models": ["double"]}
