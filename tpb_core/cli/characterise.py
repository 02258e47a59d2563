"""`tpb characterise`: averaging window and delay of every power channel, found with a load that is switched on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpb_core.api.errors import EXIT_DONE, EXIT_FAILED
from tpb_core.cli.switched import plain_words, plus_minus, seconds_of, switched_bundle
from tpb_core.cli.text_table import text_table
from tpb_core.cli.words import Words

if TYPE_CHECKING:
    from tpb_core.energy.characterisation import Response
    from tpb_core.store.bundle import Bundle

USAGE = """\
Usage: tpb characterise [OPTION=VALUE ...] [--load cpu|COMMAND] [--for 60s]

Switches a load on and off at irregular times, fits how each power sensor follows (over how long it averages, how late it is) and keeps
the result for later runs on this machine, under the present driver version. The window is the boxcar of the reading; the delay counts
from the switching of the load to the end of that window, so what the load itself needs to start is part of it.

  tpb characterise                                          sensors of the CPU
  tpb characterise +meter=nvml --load 'python burn.py'      a command that keeps a GPU busy; it is stopped and continued
  tpb characterise --from runs/RUN_ID                       the same from a run that was made before

  --load LOAD        cpu (default): a busy process on each core; else a command that runs until it is ended
  --for TIME         length of the switching (default 60s; slow sensors need minutes)
  --from RUN         take this bundle instead of measuring
  --against CHANNEL  hold sensors against this channel instead of the load (lag of a wall meter behind the GPU, say)
  --seed N           another irregularity (default 0)
  --no-store         print only
"""


def main(argv: list[str]) -> int:
    """The command. Exit code 1 where no channel followed the load."""
    values = {"--load": "cpu", "--for": "60s", "--from": None, "--against": None, "--seed": "0"}
    words = Words("characterise", argv, values=values, switches=("--no-store",))
    if words.help:
        print(USAGE, end="")
        return EXIT_DONE
    options = plain_words(words.plain, "characterise")
    seconds, seed = seconds_of("--for", words.value("--for")), _whole(words.value("--seed"))
    from tpb_core.energy.switched import responses
    from tpb_core.run.characterise.findings import timing_findings
    from tpb_core.run.device_store import DeviceStore

    bundle = _bundle(words, options, seconds, seed)
    found = responses(bundle, words.optional("--against"), seed=seed)
    _print(bundle, found)
    findings = timing_findings(bundle, found)
    print(f"\nRun: {bundle.path}")
    if findings and not words.on("--no-store"):
        for path in DeviceStore().add(findings):
            print(f"Kept for later runs: {path}")
    return EXIT_DONE if findings else EXIT_FAILED


def _bundle(words: Words, options: list[str], seconds: float, seed: int) -> Bundle:
    from tpb_core.run.characterise.loads import load_named
    from tpb_core.run.characterise.schedule import on_and_off
    from tpb_core.store.bundle import Bundle

    if words.optional("--from") is not None:
        return Bundle.open(words.path("--from"))
    return switched_bundle(options, load_named(words.value("--load")), on_and_off(seconds, seed))


def _whole(text: str) -> int:
    from tpb_core.api.errors import BadInput

    if not text.isdecimal():
        raise BadInput(f"--seed {text}: not a whole number", "Type for example --seed 1")
    return int(text)


def _print(bundle: Bundle, found: dict[str, Response]) -> None:
    from tpb_core.run.characterise.findings import refresh_of

    channels = {channel.channel: channel for channel in bundle.channels}
    rows = []
    for name, response in found.items():
        refresh = refresh_of(bundle, channels[name])
        period = "—" if refresh is None else f"{refresh.median_ms:.0f} ({refresh.p10_ms:.0f} to {refresh.p90_ms:.0f}) ms"
        if refresh is not None and refresh.median_ms < 2 * refresh.poll_ms:
            period = f"each reading ({refresh.poll_ms:.0f} ms)"
        window = (
            "counter" if channels[name].kind == "energy_counter" else plus_minus(response.averaging_s, response.averaging_u_s, "ms", 1e3)
        )
        declared = channels[name].averaging_ms
        rows.append(
            (
                name,
                window,
                plus_minus(response.delay_s, response.delay_u_s, "ms", 1e3),
                period,
                "—" if declared is None else f"{declared:g} ms",
                response.reason or f"explains {100 * response.followed:.1f} % of what {response.readings} readings vary",
            )
        )
    header = ("channel", "averaging", "delay", "new value every", "known before", "fit")
    print(text_table(rows, header) if rows else "No measured power or energy channel has readings in this run.")
