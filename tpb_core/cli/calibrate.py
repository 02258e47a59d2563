"""`tpb calibrate --reference CHANNEL`: gain and offset of other channels against a reference meter, from steady levels of load."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tpb_core.api.errors import EXIT_DONE, BadInput
from tpb_core.cli.switched import plain_words, plus_minus, seconds_of, switched_bundle
from tpb_core.cli.text_table import text_table
from tpb_core.cli.words import Words

if TYPE_CHECKING:
    from tpb_core.api.channel import Channel
    from tpb_core.store.bundle import Bundle

USAGE = """\
Usage: tpb calibrate --reference CHANNEL --reference-u 1% [--channel CHANNEL,...] [OPTION=VALUE ...]

Holds a load at six steady levels, fits  reference = offset + gain * channel  with errors in both, and keeps gain and offset with their
uncertainties for later runs on this machine, under the present driver version.

  tpb calibrate '+meter=[hwmon,command]' meter.command.command=... --reference n0/meter --reference-u 0.5% --channel n0/hwmon_power1
  tpb calibrate --from runs/RUN_ID --reference n0/pdu --reference-u 1%+2W       steady stretches of a run that was made before

  --reference CHANNEL   the channel that is right
  --reference-u U       its standard uncertainty: 1%, or with a constant part 1%+2W (default: what its channel states)
  --channel CHANNEL     what to calibrate, several with commas (default: channels of the reference's own scope)
  --load LOAD           cpu (default), or a command that runs until it is ended; levels in between are made by pulses
  --for TIME            length of all levels together (default 120s; slow meters need more)
  --from RUN            take this bundle instead of measuring
  --no-store            print only
"""
_U = re.compile(r"(\d+(?:\.\d+)?)%(?:\+(\d+(?:\.\d+)?)W)?|(\d+(?:\.\d+)?)W|0")


def main(argv: list[str]) -> int:
    """The command. Exit code 3 where there are too few levels, or they span too little."""
    values = {"--reference": None, "--reference-u": None, "--channel": None, "--load": "cpu", "--for": "120s", "--from": None}
    words = Words("calibrate", argv, values=values, switches=("--no-store",))
    if words.help:
        print(USAGE, end="")
        return EXIT_DONE
    options, name = plain_words(words.plain, "calibrate"), words.value("--reference")
    seconds = seconds_of("--for", words.value("--for"))
    stated = None if words.optional("--reference-u") is None else reference_u(words.value("--reference-u"))
    from tpb_core.energy.calibration import fit_calibration
    from tpb_core.energy.steady import steady_levels
    from tpb_core.run.characterise.findings import gain_finding
    from tpb_core.run.device_store import DeviceStore

    bundle = _bundle(words, options, seconds)
    reference = _named(bundle, name)
    u_rel, u_w = stated or _own_u(reference)
    findings, rows = [], []
    for channel in _chosen(bundle, reference, words.optional("--channel")):
        fit = fit_calibration(steady_levels(bundle, channel, reference), reference_u_rel=u_rel, reference_u_w=u_w)
        findings.append(gain_finding(bundle, channel, reference, fit))
        gain = plus_minus(fit.gain, fit.gain * fit.gain_u_rel, "")
        span = f"{fit.levels} levels, {fit.low_w:.4g} to {fit.high_w:.4g} W, scatter {fit.scatter:.1f} times what is stated"
        rows.append((channel.channel, gain, plus_minus(fit.offset_w, fit.offset_u_w, "W"), span))
    print(text_table(rows, ("channel", "gain", "offset", f"against {reference.channel}")))
    print(f"\nRun: {bundle.path}")
    if not words.on("--no-store"):
        for path in DeviceStore().add(findings):
            print(f"Kept for later runs: {path}")
    return EXIT_DONE


def reference_u(text: str) -> tuple[float, float]:
    """Relative and constant standard uncertainty from `1%`, `2W` or `1%+2W`. Raises BadInput."""
    match = _U.fullmatch(text.replace(" ", ""))
    if match is None:
        raise BadInput(f"--reference-u {text}: not an uncertainty", "Type for example --reference-u 1%, or --reference-u 0.5%+2W")
    return float(match[1] or 0) / 100, float(match[2] or match[3] or 0)


def _own_u(reference: Channel) -> tuple[float, float]:
    if reference.gain_u_rel is None or reference.offset_u_w is None:
        raise BadInput(
            f"nothing is known of the uncertainty of {reference.channel}",
            "Give its standard uncertainty, from its certificate or data sheet:  --reference-u 1%",
        )
    return reference.gain_u_rel, reference.offset_u_w


def _bundle(words: Words, options: list[str], seconds: float) -> Bundle:
    from tpb_core.run.characterise.loads import load_named
    from tpb_core.run.characterise.schedule import steady_levels
    from tpb_core.store.bundle import Bundle

    if words.optional("--from") is not None:
        return Bundle.open(words.path("--from"))
    return switched_bundle(options, load_named(words.value("--load")), steady_levels(seconds))


def _named(bundle: Bundle, name: str) -> Channel:
    from tpb_core.api.channel import LEDGER_KINDS

    channels = {channel.channel: channel for channel in bundle.channels if channel.kind in LEDGER_KINDS}
    if name not in channels:
        raise BadInput(f"this run has no power or energy channel {name!r}", f"Channels: {', '.join(channels) or 'none'}")
    return channels[name]


def _chosen(bundle: Bundle, reference: Channel, names: str | None) -> list[Channel]:
    """Those that were named, else those of the reference's scope on other sensors: a part cannot be calibrated against a whole."""
    from tpb_core.api.channel import LEDGER_KINDS

    if names is not None:
        return [_named(bundle, name.strip()) for name in names.split(",")]
    found = [
        channel
        for channel in bundle.channels
        if channel.kind in LEDGER_KINDS
        and (channel.scope, channel.node) == (reference.scope, reference.node)
        and channel.channel != reference.channel
        and (channel.sensor is None or channel.sensor != reference.sensor)
        and channel.evidence not in ("estimated", "reported")
    ]
    if not found:
        raise BadInput(
            f"no other sensor here has the scope of {reference.channel} ({reference.scope})", "Name what to calibrate with --channel"
        )
    return found
