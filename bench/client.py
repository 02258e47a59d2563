"""What load clients add, side by side: tpb, `vllm bench serve`, guidellm and aiperf against a stand-in of a server.

    python bench/client.py [--vllm PYTHON] [--guidellm PYTHON] [--aiperf PYTHON] [--tokenizer FOLDER]
                           [--seconds 5] [--rates 25,50,100,200,400,800] [--long-prompt-rates 2,5,10]
                           [--parts rates,prompts,open,burst,memory]

Each tool runs as its users start it, in an environment of its own; what is not given is left out. The stand-in
(`tpb_core.testing.openai_double`, a process of its own on the same machine) streams fixed tokens and stamps, for every tool alike, when a
request was there in full and when its first token left. --tokenizer is the folder of a tokenizer, from which the others make prompts.

`rates` and `prompts` (32 and 50,000 tokens): requests with equal gaps. "off schedule" is how far arrivals are from equal gaps at the
rate asked for, less the delay that all share (its median); a rate is held where 99 % are within 2 ms. "TTFT added" is the time to first
token that the tool reports, less the time from arrival to first token that the stand-in took, request by request. Of tpb it is also said
how late requests were sent by its own account, and the CPU time of a request.
`open`: 100 requests/s whose streams last 10 s; figures are of those sent while 1,000 are open. `burst`: 1,000 at once, with how long it
took until all were there, and the memory of all processes of the tool (proportional set size) just before, with prompts and all, and while
they are open; helpers that come and go make a few MiB of difference. `memory`: what tpb's client alone grows by in one process that holds
1,000 open streams.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clients.aiperf_tool import AiPerf
from clients.guidellm_tool import GuideLlm
from clients.load import Load, Tool
from clients.memory import with_streams
from clients.session import Session, ToolFailed, run
from clients.stand_in import off_schedule_ms, stand_in
from clients.streams_memory import grown_mib
from clients.tpb_tool import Tpb, cpu_ms_a_request, sent_late_ms
from clients.vllm_tool import VllmBench

ON_TIME_MS, SHARE = 2.0, 0.99
STREAMS, OUTPUT_TOKENS = 1000, 8
LONG_PROMPT_TOKENS = 50_000
STREAM_S = 10.0
PARTS = ("rates", "prompts", "open", "burst", "memory")
HEAD = (
    f"{'':<12}{'requests/s':>10}{'came at':>9}{'within 2 ms':>13}{'off schedule p50':>18}{'p99':>8}{'TTFT added p50':>16}{'p99':>8}  [ms]"
)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rates", default="25,50,100,200,400,800")
    parser.add_argument("--long-prompt-rates", default="2,5,10")
    parser.add_argument("--parts", default=",".join(PARTS))
    others = {"vllm": VllmBench, "guidellm": GuideLlm, "aiperf": AiPerf}
    for name in others:
        parser.add_argument(f"--{name}", help=f"interpreter with {name}")
    parser.add_argument("--tokenizer", help="folder of a tokenizer, for them")
    words = parser.parse_args()
    given = {name: python for name in others if (python := getattr(words, name)) is not None}
    if given and words.tokenizer is None:
        parser.error("the other tools make prompts with a tokenizer: --tokenizer FOLDER")
    parts = words.parts.split(",")
    if strange := sorted(set(parts) - set(PARTS)):
        parser.error(f"--parts: {strange[0]} is none of {', '.join(PARTS)}")
    tools: list[Tool] = [Tpb(), *(others[name](python, words.tokenizer) for name, python in given.items())]
    for name in others.keys() - given.keys():
        print(f"left out: {name} (--{name} PYTHON)")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # each stream is a descriptor, in the tools and in the stand-in
    _say(f"{os.cpu_count()} cores; descriptors {soft} -> {hard}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "rates" in parts:
            rates(tools, [float(rate) for rate in words.rates.split(",")], words.seconds, 32, folder)
        if "prompts" in parts:
            rates(tools, [float(rate) for rate in words.long_prompt_rates.split(",")], words.seconds, LONG_PROMPT_TOKENS, folder)
        if "open" in parts:
            open_streams(tools, words.seconds, folder)
        if "burst" in parts:
            burst(tools, folder)
    if "memory" in parts:
        _say(f"\ntpb's client alone: {grown_mib(STREAMS):.1f} MiB for {STREAMS:,} open streams")


def rates(tools: Sequence[Tool], rates: Sequence[float], seconds: float, input_tokens: int, folder: Path) -> None:
    """Every tool at every rate, one after the other; the highest rate that each holds."""
    _say(f"\nprompts of {input_tokens:,} tokens\n{HEAD}")
    held: dict[str, float] = {}
    with stand_in() as server:
        for rate in rates:
            for tool in tools:
                load = Load(max(20, round(rate * seconds)), input_tokens, OUTPUT_TOKENS, rate=rate)
                try:
                    session = run(tool, server, load, folder)
                except ToolFailed as failed:
                    _say(f"{tool.name:<12}{rate:>10g}  {failed}")
                    continue
                if _show(tool, session) >= SHARE:
                    held[tool.name] = max(rate, held.get(tool.name, 0.0))
    for tool in tools:
        most = f"{held[tool.name]:g} requests/s" if tool.name in held else "none of these"
        _say(f"{tool.name:<12} highest rate held: {most}")


def open_streams(tools: Sequence[Tool], seconds: float, folder: Path) -> None:
    """As many requests come as end, with 1,000 streams open."""
    rate = STREAMS / STREAM_S
    load = Load(STREAMS + max(200, round(rate * seconds)), 32, OUTPUT_TOKENS, rate=rate)
    _say(f"\nwhile {STREAMS:,} streams are open\n{HEAD}")
    with stand_in(token_s=STREAM_S / (OUTPUT_TOKENS - 1)) as server:
        for tool in tools:
            try:
                session = run(tool, server, load, folder)
            except ToolFailed as failed:
                _say(f"{tool.name:<12}{rate:>10g}  {failed}")
                continue
            _show(tool, session, begin=STREAMS)
            _say(f"{'':<12} most at once: {session.most_open}")


def burst(tools: Sequence[Tool], folder: Path) -> None:
    """1,000 at once: how long until they are there, and the memory before and while they are open."""
    timing = f"{'all there after':>16}{'most open':>11}{'TTFT added p50':>16}{'p99':>9}  [ms]"
    _say(f"\n{STREAMS:,} at once\n{'':<12}{timing}{'memory before':>16}{'while open':>12}  [MiB]")
    for tool in tools:
        try:
            with stand_in(token_s=STREAM_S / (OUTPUT_TOKENS - 1)) as server:
                session = run(tool, server, Load(STREAMS, 32, OUTPUT_TOKENS, streams=STREAMS), folder, watch_memory=True)
        except ToolFailed as failed:
            _say(f"{tool.name:<12} {failed}")
            continue
        p50, p99 = np.percentile(session.added_ms, (50, 99))
        there_ms = (session.arrived_ns[-1] - session.arrived_ns[0]) / 1e6
        memory = with_streams(session.looks, STREAMS)
        told = "never 1,000 open" if memory is None else f"{memory[0]:.0f}{memory[1]:>12.0f}"
        _say(
            f"{tool.name:<12}{there_ms:>16.0f}{session.most_open:>11}{p50:>16.1f}{p99:>9.1f}{'':6}{told:>28}"
            f"   load average {os.getloadavg()[0]:.1f}"
        )


def _show(tool: Tool, session: Session, begin: int = 0) -> float:
    """One row, of the requests from number `begin` on; returns the share that came within 2 ms of schedule."""
    rate, arrived_ns = session.load.rate, session.arrived_ns[begin:]
    assert rate is not None
    off_ms = off_schedule_ms(arrived_ns, rate)
    share = float(np.mean(off_ms <= ON_TIME_MS))
    came_at = (len(arrived_ns) - 1) / (arrived_ns[-1] - arrived_ns[0]) * 1e9
    p50, p99 = np.percentile(off_ms, (50, 99))
    added_p50, added_p99 = np.percentile(session.added_ms[begin:], (50, 99))
    _say(
        f"{tool.name:<12}{rate:>10g}{came_at:>9.1f}{share:>13.1%}{p50:>18.2f}{p99:>8.2f}{added_p50:>16.2f}{added_p99:>8.2f}"
        f"   load average {os.getloadavg()[0]:.1f}"
    )
    if isinstance(tool, Tpb):
        late_ms = sent_late_ms(session.folder)[begin:]
        of_session, of_worker = cpu_ms_a_request(session.folder)
        on_time = float(np.mean(late_ms <= ON_TIME_MS))
        _say(
            f"{'':<12} by its own account {on_time:.1%} sent within 2 ms, late p99 {np.percentile(late_ms, 99):.2f};"
            f" CPU of a request: session {of_session:.2f}, worker {of_worker:.2f}"
        )
    return share


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
