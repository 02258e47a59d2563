"""How often stated 95 % intervals hold the truth, how far figures are off, and what simpler ways would have said of the same samples.

    python bench/coverage.py --seeds 200                 every cell
    python bench/coverage.py --seeds 2000 --cell static  cells whose name begins so

Gain and offset are drawn for each seed (3.7 % and 5.9 W). `rig`: the interval without calibration against gain x truth + offset x time.
`all`: the total interval against the truth. A cell fails where `rig` is outside 0.90 to 0.99, or NULL or width beyond what it states.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from tpb_attributors import Steps, StepsConfig, Windowed, WindowedConfig
from tpb_core.api import Attributor, Channel, Series
from tpb_core.testing.batch_world import BatchPlan, batch_world, gpu_channel
from tpb_core.testing.memory_run import MemoryRun, series_of
from tpb_core.testing.power_world import PowerTrace, Refresh, read_counter, read_power
from tpb_core.testing.serving_world import Cost, affine, power_cap, roofline, serving_world

GAIN_U, OFFSET_U_W = 0.037, 5.9
SENSORS: dict[str, tuple[Channel, float]] = {
    "counter": (gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0), 0.03),
    "rapl": (gpu_channel("energy_counter", update_ms=1.0, delay_ms=0.0, wrap=262144.0, max_power_w=2000.0), 0.1),
    "duty25": (gpu_channel("power", update_ms=100.0, delay_ms=0.0, averaging_ms=25.0), 0.05),
    "mean1s": (gpu_channel("power", update_ms=100.0, delay_ms=0.0, averaging_ms=1000.0), 0.05),
}
STATIC = {
    "long": BatchPlan(batches=20),
    "short": BatchPlan(batches=40, prefill_s=0.06, decode_steps=20),
    "drift": BatchPlan(batches=12, decode_drift=0.2),
}
COSTS: dict[str, Cost] = {"affine": affine, "roofline": roofline, "power_cap": power_cap}
SLOTS = {"low": 2, "middle": 8, "saturated": 24}


@dataclass(frozen=True)
class Cell:
    """One kind of world with one kind of sensor, and the share of NULL and the half width that it may have at most."""

    name: str
    kind: str
    sensor: str
    disturbed: str = ""
    most_null: float = 0.1
    widest: float = 0.35


def cells() -> list[Cell]:
    """Every cell."""
    found = [Cell(f"static/{plan}/{sensor}", f"static:{plan}", sensor) for plan in STATIC for sensor in SENSORS]
    found += [Cell(f"static/long/counter+{what}", "static:long", "counter", what) for what in ("reset", "gap")]
    found += [Cell(f"serving/{c}/{load}/{s}", f"serving:{c}:{load}", s) for c in COSTS for load in SLOTS for s in ("counter", "duty25")]
    return found


def one(cell: Cell, seed: int) -> list[tuple[str, float, float, float, float, float, float, float]]:
    """(quantity, value, rig low, rig high, total low, total high, gain x truth + offset x time, truth) of one drawn world."""
    rng = np.random.default_rng(seed)
    kind, *rest = cell.kind.split(":")
    if kind == "static":
        world = batch_world(STATIC[rest[0]], rng)
        truth = {phase: world.truth[phase] for phase in ("total", "prefill", "decode")}
        attributor: Attributor[WindowedConfig] | Attributor[StepsConfig] = Windowed(WindowedConfig())
    else:
        served = serving_world(COSTS[rest[0]], rng, 100, SLOTS[rest[1]])
        world = served  # type: ignore[assignment]
        truth = {"total": served.truth["any", "total"], **{p: served.truth["shapley", p] for p in ("prefill", "decode")}}
        attributor = Steps(StepsConfig(rules=["shapley"], redraws=60))
    gain, offset_w = 1 + GAIN_U * rng.normal(), OFFSET_U_W * rng.normal()
    run = meter(world.run, world.trace, cell, (world.read_from_s, world.read_to_s), gain, offset_w, rng)
    rows = []
    for row in attributor.attribute([run])[0].energy:
        if (row.window, row.domain, row.basis) == ("measure", "total", "gross") and row.phase in truth:
            seconds = row.joules / row.mean_w if row.joules and row.mean_w else 0.0
            numbers = [
                np.nan if v is None else v for v in (row.joules, row.ci_low_j, row.ci_high_j, row.ci_total_low_j, row.ci_total_high_j)
            ]
            rows.append((row.phase, *numbers, gain * truth[row.phase] + offset_w * seconds, truth[row.phase]))
    rows += [(name, value, *[np.nan] * 4, rig, rig) for name, value, rig in others(run, world.trace, gain, offset_w, truth)]
    return rows


def meter(
    run: MemoryRun, trace: PowerTrace, cell: Cell, span: tuple[float, float], gain: float, offset_w: float, rng: np.random.Generator
) -> MemoryRun:
    """The run with its sensor's readings, disturbed where the cell says so."""
    channel, poll_s = SENSORS[cell.sensor]
    read = np.arange(*span, poll_s) + rng.uniform(0, poll_s)
    seen = PowerTrace(trace.edge_s, trace.watts * gain + offset_w)
    refresh = Refresh((channel.update_ms or 0.0) / 1e3, spread_s=0.02 * (channel.update_ms or 0.0) / 1e3)
    if channel.kind == "energy_counter":
        middle = (span[0] + span[1]) / 2
        resets = (middle,) if cell.disturbed == "reset" else ()
        series = read_counter(seen, read, refresh, rng, resets_s=resets, wrap_j=channel.wrap or 0.0)
    else:
        series = read_power(seen, read, refresh, (channel.averaging_ms or 0.0) / 1e3, rng, noise_w=1.0)
    if cell.disturbed == "gap":
        middle = (span[0] + span[1]) / 2
        keep = np.abs(series.t_ns / 1e9 - middle) > 0.4
        series = Series(series.t_ns[keep], series.half_width_ns[keep], series.value[keep])
    slow = read_power(seen, read, Refresh(0.1), 1.0, rng)
    run.channels = [channel]
    run.samples = {channel.channel: series, "one_second": series_of(slow.t_ns / 1e9, slow.value)}
    return run


def others(run: MemoryRun, trace: PowerTrace, gain: float, offset_w: float, truth: dict[str, float]) -> list[tuple[str, float, float]]:
    """What simpler ways say, with what their sensor would call the truth."""
    window = run.windows[1]
    t0, t1 = window.t0_ns / 1e9, window.t1_ns / 1e9
    slow = run.samples["one_second"]
    t, watts = slow.t_ns / 1e9, slow.value
    rig = gain * truth["total"] + offset_w * (t1 - t0)

    def trapezoid(a: float, b: float) -> float:
        grid = np.unique(np.concatenate([[a, b], t[(t > a) & (t < b)]]))
        return float(np.trapezoid(np.interp(grid, t, watts), grid))

    requests, steps = run.tables["requests"], run.tables["steps"]
    a, b = requests["submitted_ns"] / 1e9, requests["finished_ns"] / 1e9
    inside = (t >= t0) & (t <= t1)
    pure = (steps["prefill_tokens"] > 0) & (steps["decode_tokens"] == 0)
    mixed = bool(((steps["prefill_tokens"] > 0) & (steps["decode_tokens"] > 0)).any())
    tokens = float(steps["prefill_tokens"].sum() / (steps["prefill_tokens"].sum() + steps["decode_tokens"].sum()))
    said = [
        ("~ window around each request", sum(trapezoid(float(x), float(y)) for x, y in zip(a, b, strict=True)), rig),
        ("~ mean power x duration", float(watts[inside].mean()) * (t1 - t0), rig),
        ("~ trapezoid of 1 s means", trapezoid(t0, t1), rig),
        ("~ 666 ms of grace", trapezoid(t0 - 0.666, t1 + 0.666), rig),
        ("~ prefill: tokens x average", rig * tokens, gain * truth["prefill"]),
    ]
    channel = run.channels[0]
    if channel.kind == "energy_counter":
        series = run.samples[channel.channel]
        at = np.clip(np.searchsorted(series.t_ns, [window.t0_ns, window.t1_ns], "right") - 1, 0, len(series.value) - 1)
        said.append(("~ counter at window edges", float(series.value[at[1]] - series.value[at[0]]), rig))
    if not mixed:
        spans = zip(steps["t0_ns"][pure] / 1e9, steps["t1_ns"][pure] / 1e9, strict=True)
        said.append(("~ prefill: trapezoid of 1 s means", sum(trapezoid(x, y) for x, y in spans), gain * truth["prefill"]))
    return said


def summary(cell: Cell, results: list[list[tuple[str, float, float, float, float, float, float, float]]]) -> bool:
    """Print a cell's rows; whether it keeps to its limits."""
    good = True
    for name in dict.fromkeys(row[0] for rows in results for row in rows):
        table = np.array([row[1:] for rows in results for row in rows if row[0] == name], float)
        null = float(np.isnan(table[:, 0]).mean())
        value, low, high, total_low, total_high, rig, truth = table[~np.isnan(table[:, 0])].T
        error = value / rig - 1
        line = f"{cell.name:34} {name:34} bias {100 * error.mean():+8.2f} %  rms {100 * np.sqrt((error**2).mean()):7.2f} %"
        if not name.startswith("~"):
            held = float(np.mean((low <= rig) & (rig <= high)))
            held_total = float(np.mean((total_low <= truth) & (truth <= total_high)))
            width = float(np.mean((high - low) / 2 / rig))
            fine = held >= 0.90 and null <= cell.most_null and width <= cell.widest
            good &= fine
            line += f"  rig {held:.3f}  all {held_total:.3f}  half width {100 * width:6.2f} %  NULL {null:.2f}{'' if fine else '  <--'}"
        print(line, flush=True)
    return good


def main() -> None:
    """Run the cells on all processors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--cell", default="")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    good = True
    work: Callable[..., object]
    with ProcessPoolExecutor(arguments.workers) as pool:
        for cell in cells():
            if cell.name.startswith(arguments.cell):
                work = partial(one, cell)
                good &= summary(cell, list(pool.map(work, range(arguments.seeds), chunksize=4)))  # type: ignore[arg-type]
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
