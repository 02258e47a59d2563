"""`tpb attach URL [--for TIME] [--every TIME] [OPTION=VALUE ...]`: a running server under its own traffic, without a load of ours."""

from __future__ import annotations

import sys
from typing import Any

from tpb_core.api.errors import EXIT_DONE, BadInput, Unavailable

USAGE = """\
Usage: tpb attach URL [--for TIME] [--every TIME] [OPTION=VALUE ...]

Watches a running inference server (vLLM, SGLang, TensorRT-LLM, TGI, llama-server) and sends it nothing but questions for its metrics.
Tokens come from the server's counters, energy from the meters of this machine: run it where the server runs.
  tpb attach http://localhost:8000                        one minute
  tpb attach http://localhost:8000 --for 10m --every 60s  J per token of each minute as well
  tpb attach localhost:8000 '+meter=[nvml,rapl]'          with these meters instead of all
  tpb attach http://localhost:8000/metrics                where the metrics are elsewhere, their full address
"""
_DEFAULT_S = 60.0
_MOST_SLICES = 10_000


def main(argv: list[str]) -> int:
    """Watch a server. Returns 0, 1 where the measurement failed, 2 where there is no such server, 130 after Ctrl-C."""
    if argv[:1] in (["--help"], ["-h"]):
        print(USAGE, end="")
        return EXIT_DONE
    from tpb_core.cli.measure import take_seconds

    words, seconds = take_seconds(argv, "--for")
    words, slice_s = take_seconds(words, "--every")
    seconds = seconds or _DEFAULT_S
    if slice_s is not None and seconds / slice_s > _MOST_SLICES:
        raise BadInput(f"--every {slice_s:g}: that makes more than {_MOST_SLICES} windows", "Type for example --every 60s")
    addresses = [word for word in words if "=" not in word.partition("?")[0] and not word.startswith(("+", "-", "~"))]
    if len(addresses) != 1:
        what = "tpb attach needs the address of a running server" if not addresses else f"two addresses: {' and '.join(addresses)}"
        raise BadInput(what, "Type:  tpb attach http://localhost:8000 --for 10m")
    url = addresses[0]
    words = [word for word in words if word != url]
    unknown = next((word for word in words if word.startswith("-")), None)
    if unknown is not None:
        raise BadInput(f"tpb attach has no flag {unknown}", "Type:  tpb attach --help")
    server = look_at(url)
    watched = f"{', '.join(server['models']) or 'a server'} at {url}"
    print(f"Watching {watched} for {seconds:g} s; Ctrl-C ends it earlier.", file=sys.stderr, flush=True)
    from tpb_core.cli.observed import observe_and_print
    from tpb_core.report.watched import lines_of
    from tpb_core.run.program import Duration

    description: dict[str, Any] = {
        "name": "attached",
        "model": {"name": ", ".join(server["models"]) or None},
        "requested": {},
        "effective": {},
        "instances": [],
        "prefix_cache": None,
        "x_server": {"url": server["url"]},
    }
    return observe_and_print(with_server(words, url), Duration(description, seconds), slice_s, lines_of)


def look_at(url: str) -> dict[str, Any]:
    """Ask the server once, before anything is written: its address and models. Raises BadInput where it has no metrics to be read."""
    from tpb_core import drivers
    from tpb_core.api.meter import MeterContext
    from tpb_core.run.clock import RealClock

    meter_class = drivers.load("tpb.meters", "server")
    context = MeterContext(clock=RealClock(), run_id="attach", report_event=lambda code, message, channel: None)
    meter = meter_class(meter_class.config_class(url=url), context)
    try:
        channels = meter.discover()
    except Unavailable as missing:
        raise BadInput(missing.what, missing.fix, missing.notes) from missing
    finally:
        meter.close()
    if not any(channel.channel.endswith("/output_tokens") for channel in channels):
        raise BadInput(f"{url} does not count output tokens", "Without them there is no J per token. Type:  tpb measure -- sleep 60")
    return {"url": channels[0].device, "models": channels[0].extensions.get("x_models", [])}


def with_server(words: list[str], url: str) -> list[str]:
    """The words of the user, and the meter `server` with its address beside the meters that they choose (or all)."""
    from tpb_core.config.words import read_word

    composed = []
    for text in words:
        word = read_word(text)
        if word.key == "meter" and word.names and not {"auto", "server"} & set(word.names):
            text = f"meter=[{','.join([*word.names, 'server'])}]"
        composed.append(text)
    return [*composed, f"meter.server.url={url}", "meter.server.required=true"]
