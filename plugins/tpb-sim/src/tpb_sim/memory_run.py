"""One simulated run in memory, as attributors read it (`tpb_core.api.RunView`), with its truth beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel, Column, Series, StepMembers, Window
from tpb_sim.server import Sequence as ServedSequence
from tpb_sim.steplog import TrueSteps
from tpb_sim.truth import Stays, Truth, truth_of
from tpb_sim.world import World

STEP_COLUMNS = (
    "prefill_tokens", "decode_tokens", "emitted_tokens", "draft_tokens", "accepted_tokens", "recomputed_tokens",
    "prefill_padding_tokens", "decode_padding_tokens", "kv_tokens", "prefill_kv_tokens",
)  # fmt: skip


@dataclass
class SimRun:
    """A finished run. The world stays with it, so that truth can be asked for any window."""

    run_id: str
    manifest: Mapping[str, Any]
    channels: Sequence[Channel]
    windows: Sequence[Window]
    world: World
    sequences: list[ServedSequence]
    readings: dict[str, Series]
    due_ns: list[int]
    events: list[tuple[int, str, str, str]] = field(default_factory=list)
    """Time, level, code, message."""

    @cached_property
    def steps(self) -> TrueSteps:
        """The log with device times and host stamps, in the order in which steps began."""
        assert self.world.recorder is not None
        return self.world.recorder.columns()

    @cached_property
    def _order(self) -> npt.NDArray[np.intp]:
        return np.argsort(self.steps.host_t0_ns, kind="stable")

    def series(self, channel: str) -> Series:
        """Readings of a channel."""
        return self.readings[channel]

    def columns(self, table: str) -> Mapping[str, Column] | None:
        """`steps`, `requests` or `events`; None for anything else."""
        if table == "steps":
            return self._step_columns
        if table == "requests":
            return self._request_columns
        return self._event_columns if table == "events" else None

    @cached_property
    def _step_columns(self) -> dict[str, Column]:
        steps, order = self.steps, self._order
        names = np.array([place.instance for place in self.world.places])
        columns = {
            "step": np.arange(len(order), dtype=np.int64),
            "instance": names[steps.instance][order] if len(names) else np.zeros(0, dtype="U1"),
            "t0_ns": steps.host_t0_ns[order],
            "t1_ns": steps.host_t1_ns[order],
            "time_source": np.full(len(order), "host"),
        }
        return _known({**columns, **{name: getattr(steps, name)[order] for name in STEP_COLUMNS}})

    def step_members(self) -> StepMembers:
        """Members of every step; all are known."""
        return self._members

    @cached_property
    def _members(self) -> StepMembers:
        steps, order = self.steps, self._order
        counts = np.diff(steps.offsets)[order]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        rows = np.repeat(steps.offsets[:-1][order] - offsets[:-1], counts) + np.arange(offsets[-1])
        return StepMembers(
            offsets=offsets,
            known=np.ones(len(order), dtype=np.bool_),
            request=steps.request[rows],
            prefill_tokens=steps.member_prefill[rows],
            decode_tokens=steps.member_decode[rows],
            emitted_tokens=steps.member_emitted[rows],
            kv_tokens=steps.member_kv[rows],
        )

    @cached_property
    def _request_columns(self) -> dict[str, Column]:
        served = self.sequences
        columns: dict[str, list[Any]] = {
            "request": [s.request for s in served],
            "request_id": [f"sim-{s.request}" for s in served],
            "role": ["measured"] * len(served),
            "due_ns": list(self.due_ns),
            "submitted_ns": [s.submitted_ns for s in served],
            "engine_started_ns": [s.started_ns for s in served],
            "first_token_ns": [s.first_token_ns for s in served],
            "finished_ns": [s.finished_ns for s in served],
            "input_tokens": [s.input_tokens for s in served],
            "cached_tokens": [s.cached_tokens for s in served],
            "output_tokens": [s.emitted for s in served],
            "preemptions": [s.preemptions for s in served],
            "status": ["ok" if s.done else "cancelled" for s in served],
            "finish_reason": [s.finish_reason if s.done else None for s in served],
        }
        return {name: _column(values) for name, values in columns.items()}

    @cached_property
    def _event_columns(self) -> dict[str, Column]:
        times, levels, codes, messages = zip(*self.events, strict=True) if self.events else ((), (), (), ())
        return {
            "t_ns": _column(list(times)),
            **{name: _column(list(values), "U1") for name, values in (("level", levels), ("code", codes), ("message", messages))},
        }

    def token_stamps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Offsets and stamps of all output tokens in the row order of requests."""
        return self._tokens

    @cached_property
    def _tokens(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        steps = self.steps
        step_of = np.repeat(np.arange(len(steps.t0_ns)), np.diff(steps.offsets))
        request = np.repeat(steps.request, steps.member_emitted)
        stamps = np.repeat(steps.host_t1_ns[step_of], steps.member_emitted)
        order = np.lexsort((stamps, request))
        wanted = np.array([s.request for s in self.sequences])
        counts = np.bincount(request, minlength=int(wanted.max(initial=-1)) + 1)[wanted]
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), stamps[order]

    def truth(self, windows: Sequence[str] = ("measure",), *, requests: bool = True, rules: Sequence[str] | None = None) -> Truth:
        """True figures of these windows (idle windows are added, as net figures need them)."""
        spans = {w.window: (w.t0_ns, w.t1_ns) for w in self.windows}
        asked = [*windows, *(name for name in spans if name.startswith("idle_") and name not in windows)]
        end_ns = max(device.trace.end_ns for device in self.world.devices.values())
        stays = Stays(
            np.array([s.request for s in self.sequences], dtype=np.int64),
            np.array([s.submitted_ns for s in self.sequences], dtype=np.int64),
            np.array([end_ns if s.finished_ns is None else s.finished_ns for s in self.sequences], dtype=np.int64),
        )
        chosen = {} if rules is None else {"rules": rules}
        return truth_of(
            self.world, stays, [(name, *spans[name]) for name in asked], request_windows=tuple(windows) if requests else (), **chosen
        )


def _known(columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, Column]:
    return {name: Column(values, np.ones(len(values), dtype=np.bool_)) for name, values in columns.items()}


def _column(values: list[Any], empty: str = "int64") -> Column:
    valid = np.array([value is not None for value in values], dtype=np.bool_)
    blank: Any = "" if any(isinstance(value, str) for value in values) else 0
    filled = np.array([blank if value is None else value for value in values])
    return Column(filled if len(values) else np.zeros(0, dtype=empty), valid)
