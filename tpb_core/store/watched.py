"""Tokens of a server that is only watched: the difference of its own token counter over a window."""

from __future__ import annotations

import re

import numpy as np

from tpb_core.api.attributor import Window
from tpb_core.api.channel import Channel
from tpb_core.api.codes import Reason
from tpb_core.store.bundle import Bundle

_OUTPUT = re.compile(r"generat|output|completion|decode|predicted", re.IGNORECASE)
_INPUT = re.compile(r"prompt|input|prefill", re.IGNORECASE)
Tokens = tuple[int | None, Reason | None]


def token_counters(bundle: Bundle) -> tuple[list[Channel], list[Channel]]:
    """Counters of output and of input tokens (kind `counter`, unit `tokens`), told by the last part of their names."""
    counters = [channel for channel in bundle.channels if channel.kind == "counter" and channel.unit == "tokens"]
    names = [channel.channel.rsplit("/", 1)[-1] for channel in counters]
    outputs = [channel for channel, name in zip(counters, names, strict=True) if _OUTPUT.search(name)]
    inputs = [channel for channel, name in zip(counters, names, strict=True) if _INPUT.search(name) and not _OUTPUT.search(name)]
    return outputs, inputs


def counted(bundle: Bundle, channels: list[Channel], window: Window) -> Tokens:
    """What the counters (one a server) together counted in the window, straight lines between readings; NULL with its reason.

    A counter that falls belongs to a server that began anew: what it counted in between is not known.
    """
    total = 0.0
    for channel in channels:
        series = bundle.series(channel.channel)
        if not len(series.t_ns):
            return None, Reason.NO_READING
        if series.t_ns[0] > window.t0_ns or series.t_ns[-1] < window.t1_ns:
            return None, Reason.NOT_BRACKETED
        low = max(int(np.searchsorted(series.t_ns, window.t0_ns, side="right")) - 1, 0)
        high = int(np.searchsorted(series.t_ns, window.t1_ns, side="left")) + 1
        if (np.diff(series.value[low:high]) < 0).any():
            return None, Reason.TOKENS_NOT_RESOLVED
        begin, end = np.interp([window.t0_ns, window.t1_ns], series.t_ns, series.value)
        total += float(end - begin)
    tokens = round(total)
    return tokens, None if tokens else Reason.NO_TOKENS
