"""The work of a run held against itself: tokens of the step log and of the requests, requests finished, requests sent late."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.api import Window
from tpb_core.energy.run_energy import RunEnergy


def wrong_token_counts(energy: RunEnergy) -> float | None:
    """Finished requests whose members' emitted tokens do not add up to their output tokens; None without members or requests."""
    members, requests = energy.activity.members, energy.run.columns("requests")
    if members is None or requests is None or energy.activity.inferred or not members.known.all() or "output_tokens" not in requests:
        return None
    ordinal = requests["request"].values.astype(np.int64)
    size = int(ordinal.max()) + 1 if len(ordinal) else 0
    known = (members.request >= 0) & (members.request < size)
    emitted = np.bincount(members.request[known], members.emitted_tokens[known], minlength=size)[ordinal] if size else np.zeros(0)
    ended = requests["output_tokens"].valid & (requests["status"].values.astype(str) == "ok")
    return float(np.count_nonzero(ended & (emitted != requests["output_tokens"].values)))


def finished_requests(energy: RunEnergy, window: Window) -> float | None:
    """Requests that ended well within the window; None without requests."""
    requests = energy.run.columns("requests")
    if requests is None or "finished_ns" not in requests:
        return None
    done = requests["finished_ns"].valid & (requests["status"].values.astype(str) == "ok")
    stamps = requests["finished_ns"].values.astype(np.int64)
    return float(np.count_nonzero(done & (stamps > window.t0_ns) & (stamps <= window.t1_ns)))


def client_lateness(energy: RunEnergy, window: Window) -> tuple[float | None, bool]:
    """(95th percentile of submitted - due in seconds, whether the load shape has due times at all) of requests due in the window."""
    requests = energy.run.columns("requests")
    if requests is None or "due_ns" not in requests or not requests["due_ns"].valid.any():
        return None, False
    if "submitted_ns" not in requests:
        return None, True
    due: npt.NDArray[np.int64] = requests["due_ns"].values.astype(np.int64)
    both = requests["due_ns"].valid & requests["submitted_ns"].valid & (due >= window.t0_ns) & (due <= window.t1_ns)
    if not both.any():
        return None, bool(((due >= window.t0_ns) & (due <= window.t1_ns) & requests["due_ns"].valid).any())
    late = (requests["submitted_ns"].values.astype(np.int64) - due)[both] / 1e9
    return float(np.quantile(late, 0.95)), True
