"""Whatever fits the format is attributed without a fault: random trees, meters, windows, steps and requests; every ledger closes."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpb_attributors import Disaggregated, DisaggregatedConfig, Steps, StepsConfig, Totals, TotalsConfig, Windowed, WindowedConfig
from tpb_core.api import BASES, PHASES, Channel, Ledger, PreconditionFailed, Series, Window
from tpb_core.testing.memory_run import MemoryRun, members_of

TREE = {
    "n0": (None, "node"), "n0/psys": ("n0", "psys"), "n0/cpu0": ("n0", "package"), "n0/cpu0/core": ("n0/cpu0", "core"),
    "n0/dram0": ("n0", "dram"), "n0/module0": ("n0", "module"), "n0/module0/gpu0": ("n0/module0", "gpu"), "n0/gpu1": ("n0", "gpu"),
    "n1": (None, "node"), "n1/gpu0": ("n1", "gpu"),
}  # fmt: skip
START, END = 1000.0, 1020.0
DELIVERED = ("full", "none", "one", "late", "holes", "constant")
WINDOWS = ("idle_bare", "idle_loaded_before", "warmup", "measure", "steady", "measure/0", "drain")
DEVICES: list[list[str]] = [[], ["A"], ["B"], ["A", "B"]]


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


@st.composite
def channels(draw: st.DrawFn) -> list[Channel]:
    found = []
    for k, domain in enumerate(draw(st.lists(st.sampled_from(list(TREE)), max_size=6))):
        parent, scope = TREE[domain]
        kind = draw(st.sampled_from(["energy_counter", "power", "gauge", "bitmask", "time_counter"]))
        found.append(
            Channel(
                f"{domain}/{k}", domain, scope, kind, {"energy_counter": "J", "power": "W"}.get(kind, "degC"),
                draw(st.sampled_from(["measured", "modelled", "simulated", "estimated"])), parent=parent, node=domain[:2],
                device=draw(maybe(st.sampled_from(["A", "B"]))), sensor=draw(maybe(st.sampled_from(["S", "T"]))),
                role=draw(maybe(st.sampled_from(["primary", "check", "part"]))), allocated=draw(st.booleans()),
                share=draw(maybe(st.just(0.5))), resolution=draw(maybe(st.just(1.0))), wrap=draw(st.sampled_from([None, 0.0, 3000.0])),
                max_power_w=draw(maybe(st.just(900.0))), averaging_ms=draw(st.sampled_from([None, 0.0, 25.0, 1000.0])),
                update_ms=draw(st.sampled_from([None, 0.0, 1.0, 100.0, 1000.0])), delay_ms=draw(st.sampled_from([None, 0.0, 300.0])),
                averaging_u_ms=draw(maybe(st.just(5.0))), delay_u_ms=draw(maybe(st.just(20.0))), gain_u_rel=draw(maybe(st.just(0.03))),
                offset_u_w=draw(maybe(st.just(2.0))), common_group=draw(maybe(st.just("cards"))),
                extensions={"x_span_w_per_core_low": 1.0, "x_span_w_per_core_high": 9.0} if kind == "time_counter" else {},
            )
        )  # fmt: skip
    return found


@st.composite
def any_run(draw: st.DrawFn) -> MemoryRun:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    listed = draw(channels())
    samples = {
        channel.channel: readings(channel, rng, draw(st.sampled_from(["full", "none", "one", "late", "holes", "constant"])))
        for channel in listed
    }
    names = draw(
        st.lists(st.sampled_from(["idle_bare", "idle_loaded_before", "warmup", "measure", "steady", "measure/0", "drain"]), unique=True)
    )
    windows = [_window(name, *sorted(rng.uniform(START - 2, END + 2, 2))) for name in names]
    if draw(st.booleans()):
        windows.append(Window("load", round(START * 1e9), round(START * 1e9)))
    run = MemoryRun("any", {"engine": {"instances": instances(draw)}, "clock": {"virtual": draw(st.booleans())}}, listed, windows, samples)
    steps_and_requests(run, rng, draw)
    return run


def _window(name: str, t0: float, t1: float) -> Window:
    return Window(name, round(t0 * 1e9), round(t1 * 1e9))


def instances(draw: st.DrawFn) -> list[dict[str, Any]]:
    roles = draw(st.lists(st.sampled_from(["mixed", "prefill", "decode", "draft"]), max_size=3))
    return [
        {"instance": str(k), "role": role, "node": "n0", "devices": draw(st.sampled_from([[], ["A"], ["B"], ["A", "B"]]))}
        for k, role in enumerate(roles)
    ]


def readings(channel: Channel, rng: np.random.Generator, kind: str) -> Series:
    t = np.sort(rng.uniform(START - 3, END + 3, {"none": 0, "one": 1}.get(kind, 300)))
    t = t[t > START + 5] if kind == "late" else t
    t = t[(t < START + 8) | (t > START + 9)] if kind == "holes" else t
    value = np.full(len(t), 50.0) if kind == "constant" else rng.uniform(50, 400, len(t))
    if channel.kind != "power" and kind != "constant":
        value = np.cumsum(value) * 0.07
        value = np.mod(value, channel.wrap) if channel.wrap else value
    return Series(np.round(t * 1e9).astype(np.int64), np.full(len(t), 1000, np.int64), value)


def steps_and_requests(run: MemoryRun, rng: np.random.Generator, draw: st.DrawFn) -> None:
    count = draw(st.sampled_from([0, 1, 60]))
    if draw(st.booleans()):
        edges = np.sort(rng.uniform(START, END, 2 * count))
        prefill = rng.integers(0, 2, count) * rng.integers(0, 300, count)
        decode = rng.integers(0, 4, count) * (1 if draw(st.booleans()) else (prefill == 0))
        ns = np.round(edges * 1e9).astype(np.int64)
        run.tables["steps"] = {
            "step": np.arange(count), "t0_ns": ns[0::2], "t1_ns": ns[1::2], "prefill_tokens": prefill.astype(np.int32),
            "decode_tokens": decode.astype(np.int32), "instance": rng.integers(0, 3, count).astype(str),
        }  # fmt: skip
        rows: list[Any] = [
            None if rng.random() < 0.1 else [(int(rng.integers(0, 8)), int(p), int(d), 1, int(rng.integers(0, 500)))]
            for p, d in zip(prefill, decode, strict=True)
        ]
        run.members = members_of(rows) if draw(st.booleans()) else None
    size = draw(st.sampled_from([0, 1, 6]))
    if draw(st.booleans()):
        stamps = np.sort(rng.uniform(START - 1, END + 1, (size, 3)), axis=1)
        if draw(st.booleans()):  # one at a time
            stamps = np.sort(rng.uniform(START, END, 3 * size)).reshape(size, 3)
        ns = np.round(stamps * 1e9).astype(np.int64)
        valid = rng.random(size) < 0.8
        run.tables["requests"] = {
            "request": np.arange(size), "status": rng.choice(["ok", "error", "unfinished"], size) if size else np.zeros(0, "U2"),
            "submitted_ns": (ns[:, 0], valid), "first_token_ns": (ns[:, 1], valid), "finished_ns": (ns[:, 2], valid),
            "input_tokens": (rng.integers(1, 99, size), valid), "output_tokens": (rng.integers(0, 9, size), valid),
            "due_ns": (ns[:, 0], valid),
        }  # fmt: skip


def closes(ledger: Ledger) -> None:
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in ledger.energy:
        assert row.joules is None or np.isfinite(row.joules)
        assert row.joules is not None or row.reason
        assert row.phase not in groups.setdefault((row.window, row.domain, row.basis), {})
        groups[row.window, row.domain, row.basis][row.phase] = row.joules
    for (_, _, basis), rows in groups.items():
        assert set(rows) == set(PHASES)
        assert basis in BASES
        total = rows.pop("total")
        known = [part for part in rows.values() if part is not None]
        if total is None:
            assert not known
        else:
            assert abs(sum(known) - total) <= 1e-9 * (abs(total) + sum(abs(part) for part in known) + 1e-12)
    table = ledger.request_energy
    for window in set(table.get("window", [])):
        for basis in BASES:
            mine = (table["window"] == window) & (table["basis"] == basis)
            if mine.any():
                lines = groups[window, "total", basis]
                for phase in ("prefill", "decode", "idle"):
                    if lines.get(phase) is not None:
                        column = table[f"{phase}_j"][mine]
                        assert abs(column.sum() - lines[phase]) <= 1e-9 * (np.abs(column).sum() + abs(lines[phase]) + 1e-9)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(run=any_run())
def test_any_run_is_attributed_and_closes(run: MemoryRun) -> None:
    for attributor in (
        Totals(TotalsConfig()),
        Windowed(WindowedConfig(largest_u_share=0.5)),
        Steps(StepsConfig(draws=20, largest_u_share=0.5)),
        Disaggregated(DisaggregatedConfig()),
    ):
        try:
            ledgers = attributor.attribute([run])
        except PreconditionFailed:
            assert not isinstance(attributor, Totals)
            continue
        for ledger in ledgers:
            closes(ledger)
