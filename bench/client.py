"""What the load client adds: requests sent on time, time to first token, memory, long prompts; against a stand-in of a server.

    python bench/client.py [--seconds 5] [--rates 25,50,100,200,400,800] [--vllm PYTHON --tokenizer FOLDER]

Each rate is a whole `tpb` run (session, engine worker, `load=constant`) against `tpb_core.testing.openai_double` in a process of its own,
which stamps when a request was there in full and when its first token left. Same machine, same clock. A rate is held when 99 % of the
requests are sent within 2 ms of their due time. "added" is the client's time to first token, counted from when the request was due or
sent, minus what the stand-in took. Memory is the growth of a process that holds 1,000 open streams. With --vllm, an interpreter that
has vLLM, `vllm bench serve` sends the same load after each of our runs; of both, the time to first token since sending is then given
over the 5 ms that the stand-in is told to take.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

ON_TIME_MS, SHARE = 2.0, 0.99
FIRST_TOKEN_S = 0.005


@contextmanager
def stand_in(first_token_s: float = FIRST_TOKEN_S, token_s: float = 0.01) -> Iterator[int]:
    """The stand-in in a process of its own; yields its port."""
    command = [sys.executable, "-m", "tpb_core.testing.openai_double", "--first-token-s", str(first_token_s), "--token-s", str(token_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


def stamps_of(port: int) -> dict[str, list[int]]:
    """Cache salt of each request since the last call -> (arrived, first token sent) in ns of CLOCK_MONOTONIC."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/double/stamps")
    found: dict[str, list[int]] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def run(port: int, folder: Path, rate: float, seconds: float, input_tokens: int, output_tokens: int) -> dict[str, float]:
    """One open-loop run; percentiles in ms."""
    count = max(20, round(rate * seconds))
    words = [
        "+engine=openai", f"engine.url=http://127.0.0.1:{port}", "meter=null", "attributor=null", "load=constant", f"load.rate={rate}",
        f"load.requests={count}", "load.max_concurrency=2000", "prompts=synthetic", f"prompts.input_tokens={input_tokens}",
        f"sampling.max_output_tokens={output_tokens}", "run.warmup_rounds=0", "run.idle_s=0", f"out.dir={folder}",
    ]  # fmt: skip
    stamps_of(port)
    subprocess.run([sys.executable, "-m", "tpb_core.cli.main", *words], check=True, capture_output=True)
    table = pq.read_table(max(folder.glob("2*")) / "requests.parquet").to_pydict()
    server = sorted(stamps_of(port).items(), key=lambda item: int(item[0].rpartition("-")[2]))  # salts are numbered as requests are sent
    due, sent, first = (np.array(table[name], np.float64) for name in ("due_ns", "submitted_ns", "first_token_ns"))
    order = np.argsort(table["request"])
    due, sent, first = due[order], sent[order], first[order]
    arrived, answered = (np.array([stamps[place] for _, stamps in server], np.float64) for place in (0, 1))
    late_ms, arrival_ms = (sent - due) / 1e6, (arrived - due) / 1e6
    from_sent_ms, from_due_ms = ((first - begin - (answered - arrived)) / 1e6 for begin in (sent, due))
    cost = json.loads((max(folder.glob("2*")) / "manifest.json").read_text())["overhead"]
    return {
        "requests": count,
        "session_ms": 1e3 * cost["session"]["measure_cpu_s"] / count,
        "worker_ms": 1e3 * cost["worker"]["measure_cpu_s"] / count,
        "on_time": float(np.mean(late_ms <= ON_TIME_MS)),
        "late_p99_ms": float(np.percentile(late_ms, 99)),
        "arrival_p50_ms": float(np.percentile(arrival_ms, 50)),
        "arrival_p99_ms": float(np.percentile(arrival_ms, 99)),
        "added_sent_p50_ms": float(np.percentile(from_sent_ms, 50)),
        "added_sent_p99_ms": float(np.percentile(from_sent_ms, 99)),
        "added_due_p50_ms": float(np.percentile(from_due_ms, 50)),
        "over_p50_ms": float(np.percentile((first - sent) / 1e6, 50)) - 1e3 * FIRST_TOKEN_S,
        "over_p99_ms": float(np.percentile((first - sent) / 1e6, 99)) - 1e3 * FIRST_TOKEN_S,
        "stamp_p50_ms": float(np.percentile((first - answered) / 1e6, 50)),
    }


def vllm_bench(python: str, tokenizer: str, port: int, rate: float, seconds: float) -> tuple[float, float]:
    """Median and 99th percentile of the time to first token that `vllm bench serve` measures, in ms over what the stand-in takes."""
    command = [
        python, "-m", "vllm.entrypoints.cli.main", "bench", "serve", "--backend", "openai", "--base-url", f"http://127.0.0.1:{port}",
        "--endpoint", "/v1/completions", "--model", "double", "--tokenizer", tokenizer, "--dataset-name", "random", "--random-input-len",
        "32", "--random-output-len", "8", "--ignore-eos", "--request-rate", str(rate), "--burstiness", "1000000", "--num-prompts",
        str(max(20, round(rate * seconds))), "--disable-tqdm",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = {name: float(value) for name, value in re.findall(r"^(Median|P99) TTFT \(ms\):\s+([\d.]+)", done.stdout, re.MULTILINE)}
    return told["Median"] - 1e3 * FIRST_TOKEN_S, told["P99"] - 1e3 * FIRST_TOKEN_S


def memory_of_streams(count: int) -> float:
    """MiB that a process grows by while it holds that many streams, each with a first token and waiting for the next."""
    from tpb_core.api import EngineContext, Request, Sampling
    from tpb_core.testing.engine_session import SuiteClock
    from tpb_core.testing.recording_sink import RecordingSink
    from tpb_engine_openai import OpenAiConfig, OpenAiEngine

    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    with stand_in(first_token_s=2.0, token_s=1000.0) as port:
        engine = OpenAiEngine(OpenAiConfig(url=f"http://127.0.0.1:{port}"), EngineContext(clock=SuiteClock(), run_id="bench"))
        sink = RecordingSink()
        engine.open(sink)
        engine.submit([Request(0, "warm", Sampling(8), text="a first one")], sink)
        while not sink.requests:
            engine.advance(sink, time.monotonic_ns() + 10**8)
        before = resident_mib()
        engine.submit([Request(1 + n, str(n), Sampling(8), text="a prompt of a few words") for n in range(count)], sink)
        give_up = time.monotonic() + 60
        while len(sink.requests) < count + 1 and time.monotonic() < give_up:
            engine.advance(sink, time.monotonic_ns() + 10**8)
        grown = resident_mib() - before
        assert len(sink.requests) == count + 1, f"only {len(sink.requests) - 1} streams are open"
        engine.close()
    return grown


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rates", default="25,50,100,200,400,800")
    parser.add_argument("--vllm", help="interpreter with vLLM, to run `vllm bench serve` beside")
    parser.add_argument("--tokenizer", help="folder of a tokenizer, for it")
    words = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"memory of 1,000 open streams: {memory_of_streams(1000):.1f} MiB", flush=True)
    held = 0.0
    head = (
        "requests/s  requests  sent within 2 ms  late p99  there p50  there p99  TTFT added since sent, p50 (p99)  since due  stamp late"
        "  CPU session  worker"
    )
    with tempfile.TemporaryDirectory() as folder, stand_in() as port:
        print(head + "   [ms]", flush=True)
        for rate in (float(rate) for rate in words.rates.split(",")):
            row = run(port, Path(folder), rate, words.seconds, 32, 8)
            _show(rate, row)
            if words.vllm is not None:
                median, p99 = vllm_bench(words.vllm, words.tokenizer, port, rate, words.seconds)
                ours = f"tpb {row['over_p50_ms']:.2f} ({row['over_p99_ms']:.2f})"
                print(f"{'':>12}TTFT over 5 ms, p50 (p99): {ours}, vllm bench serve {median:.2f} ({p99:.2f}) ms", flush=True)
            held = rate if row["on_time"] >= SHARE else held
        print(f"highest rate held (99 % of sends within 2 ms of schedule): {held:g} requests/s", flush=True)
        print("prompts of 50,000 tokens:")
        for rate in (2.0, 5.0, 10.0):
            _show(rate, run(port, Path(folder), rate, words.seconds, 50_000, 8))


def _show(rate: float, row: dict[str, float]) -> None:
    print(
        f"{rate:>10g}  {row['requests']:>8g}  {row['on_time']:>15.1%}  {row['late_p99_ms']:>8.2f}  {row['arrival_p50_ms']:>9.2f}"
        f"  {row['arrival_p99_ms']:>9.2f}  {row['added_sent_p50_ms']:>20.2f} ({row['added_sent_p99_ms']:.2f})"
        f"  {row['added_due_p50_ms']:>17.2f}  {row['stamp_p50_ms']:>10.2f}  {row['session_ms']:>11.2f}  {row['worker_ms']:>6.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
