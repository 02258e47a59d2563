"""Draw the pictures of docs/explanation from simulations with fixed seeds:  python docs/pictures.py

`power-trace.svg`: true power of a simulated GPU, the phases, and what its sensor shows. `phase-length.svg`: error of the energy of a
phase against its length, for four kinds of sensor, by tpb's estimator and by common practice on the same readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel, Series, Window
from tpb_core.energy.domain_energy import domain_energy
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.testing.memory_run import MemoryRun
from tpb_core.testing.meter_trials import idle_busy_idle
from tpb_core.testing.power_world import PowerTrace, Refresh, read_counter, read_power
from tpb_sim import Lengths, Load, WorldSpec, simulate

HERE = Path(__file__).resolve().parent / "explanation"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 360, 64, 20, 40, 46
INK, SOFT = "#222222", "#8a8a8a"
PHASES = {"prefill": "#f3d9a4", "decode": "#cfe3f5"}
LENGTHS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SEEDS = 40

Floats = npt.NDArray[np.float64]


class Canvas:
    """An SVG with linear or logarithmic axes."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], *, logarithmic: bool = False) -> None:
        self.of = np.log10 if logarithmic else np.asarray
        self.x, self.y = [float(self.of(v)) for v in x], [float(self.of(v)) for v in y]
        self.parts: list[str] = []

    def px(self, x: Floats | float) -> Floats:
        return np.asarray(LEFT + (self.of(x) - self.x[0]) / (self.x[1] - self.x[0]) * (WIDTH - LEFT - RIGHT))

    def py(self, y: Floats | float) -> Floats:
        return np.asarray(HEIGHT - BOTTOM - (self.of(y) - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM))

    def band(self, x0: float, x1: float, colour: str) -> None:
        left, right = float(self.px(x0)), float(self.px(x1))
        self.parts.append(f'<rect x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{HEIGHT - TOP - BOTTOM}" fill="{colour}"/>')

    def line(self, x: Floats, y: Floats, colour: str, *, dashed: bool = False, width: float = 1.6) -> None:
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(self.px(x), self.py(y), strict=True))
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>')

    def dots(self, x: Floats, y: Floats, colour: str, size: float = 3.2) -> None:
        self.parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{size}" fill="{colour}"/>' for a, b in zip(self.px(x), self.py(y), strict=True)
        ]

    def text(self, left: float, top: float, words: str, colour: str = INK, anchor: str = "start") -> None:
        self.parts.append(f'<text x="{left:.1f}" y="{top:.1f}" fill="{colour}" text-anchor="{anchor}">{words}</text>')

    def axes(self, ticks_x: list[float], ticks_y: list[float], name_x: str, name_y: str, percent: bool = False) -> None:
        for tick in ticks_y:
            row = float(self.py(tick))
            self.parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{row:.1f}" y2="{row:.1f}" stroke="#e2e2e2"/>')
            self.text(LEFT - 8, row + 4, f"{tick:g} %" if percent else f"{tick:g}", SOFT, "end")
        for tick in ticks_x:
            self.text(float(self.px(tick)), HEIGHT - BOTTOM + 18, f"{tick:g}", SOFT, "middle")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, name_x, INK, "middle")
        self.text(8, TOP - 24, name_y)

    def write(self, path: Path) -> None:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
        body = "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', *self.parts, "</svg>"])
        path.write_text(body + "\n")
        print(path)


def power_trace() -> None:
    """Static batches: a short prefill, a long decode; a sensor that shows 25 of every 100 ms."""
    prompts = Lengths(((1.0, 1500, 2500),))
    run = simulate(WorldSpec(load=Load(requests=12, input_tokens=prompts)), seed=3)
    window = next(window for window in run.windows if window.window == "measure")
    t0_ns, t1_ns = window.t0_ns - 400_000_000, min(window.t0_ns + 4_000_000_000, window.t1_ns)
    edges, watts = run.world.devices["n0/gpu0"].trace.segments()
    canvas = Canvas((-0.4, (t1_ns - window.t0_ns) / 1e9), (0, 1.15 * float(watts.max())))
    steps = run.columns("steps")
    assert steps is not None
    for a, b, prefill in zip(*(steps[name].values for name in ("t0_ns", "t1_ns", "prefill_tokens")), strict=True):
        if a < t1_ns:
            canvas.band((a - window.t0_ns) / 1e9, (min(b, t1_ns) - window.t0_ns) / 1e9, PHASES["prefill" if prefill else "decode"])
    canvas.axes([0, 1, 2, 3, 4], [0, 100, 200, 300, 400, 500, 600], "seconds since the first request was due", "watts")
    inside = np.flatnonzero((edges[1:] > t0_ns) & (edges[:-1] < t1_ns))
    stairs_x = np.repeat((np.clip(edges[[*inside, inside[-1] + 1]], t0_ns, t1_ns) - window.t0_ns) / 1e9, 2)[1:-1]
    canvas.line(stairs_x, np.repeat(watts[inside], 2), INK, width=1.0)
    power = next(channel for channel in run.channels if channel.kind == "power")
    series = run.series(power.channel)
    shown = (series.t_ns >= t0_ns) & (series.t_ns <= t1_ns)
    canvas.dots((series.t_ns[shown] - window.t0_ns) / 1e9, series.value[shown], "#c0392b")
    for k, (words, colour) in enumerate((("true power", INK), ("readings", "#c0392b"), ("prefill", "#b8860b"), ("decode", "#3a7ab8"))):
        canvas.text(WIDTH - RIGHT - 330 + 90 * k, TOP - 12, words, colour)
    canvas.write(HERE / "power-trace.svg")


@dataclass(frozen=True)
class SensorKind:
    """One line of the second picture."""

    name: str
    colour: str
    kind: str
    averaging_s: float
    every_s: float

    def read(self, trace: PowerTrace, read_s: Floats, rng: np.random.Generator) -> Series:
        refresh = Refresh(self.every_s, 0.0, 0.0)
        if self.kind == "energy_counter":
            return read_counter(trace, read_s, refresh, rng)
        return read_power(trace, read_s, refresh, self.averaging_s, rng)

    def channel(self) -> Channel:
        averaging_ms = None if self.kind == "energy_counter" else 1e3 * self.averaging_s
        unit = "J" if self.kind == "energy_counter" else "W"
        timing = {"averaging_ms": averaging_ms, "update_ms": 1e3 * self.every_s, "delay_ms": 0.0}
        return Channel("c", "n0/gpu0", "gpu", self.kind, unit, "measured", parent="n0", role="primary", **timing)  # type: ignore[arg-type]


KINDS = (
    SensorKind("counter, every 100 ms", "#1b7f5c", "energy_counter", 0.0, 0.1),
    SensorKind("power, 25 of 100 ms", "#c0392b", "power", 0.025, 0.1),
    SensorKind("power, 1 s average", "#3a5fb8", "power", 1.0, 0.1),
    SensorKind("BMC, 1 s average, every 1 s", "#8e44ad", "power", 1.0, 1.0),
)


def phase_length() -> None:
    """Root mean square error of the busy phase's energy over seeds; no point where most trials are NULL."""
    canvas = Canvas((0.09, 33.0), (0.1, 130.0), logarithmic=True)
    canvas.axes(list(LENGTHS_S), [0.1, 1, 10, 100], "length of the phase, seconds", "error of its energy (root mean square)", percent=True)
    for k, kind in enumerate(KINDS):
        errors = np.array([[_errors(kind, length_s, seed) for seed in range(SEEDS)] for length_s in LENGTHS_S])
        known = np.isfinite(errors[:, :, 0]).mean(axis=1) > 0.5
        ours = 100 * np.sqrt(np.nanmean(errors[known, :, 0] ** 2, axis=1))
        usual = 100 * np.sqrt(np.nanmean(errors[:, :, 1] ** 2, axis=1))
        lengths = np.array(LENGTHS_S)
        canvas.line(lengths[known], np.clip(ours, 0.1, 130), kind.colour)
        canvas.dots(lengths[known], np.clip(ours, 0.1, 130), kind.colour)
        canvas.line(lengths, np.clip(usual, 0.1, 130), kind.colour, dashed=True, width=1.0)
        canvas.text(WIDTH - RIGHT - 8, TOP + 14 + 16 * k, kind.name, kind.colour, "end")
        print(kind.name, "tpb %", dict(zip(lengths[known], ours.round(2), strict=True)), "usual %", usual.round(1))
    canvas.text(WIDTH - RIGHT - 8, TOP + 14 + 16 * len(KINDS), "solid: tpb; dashed: usual practice", INK, "end")
    canvas.write(HERE / "phase-length.svg")


def _errors(kind: SensorKind, length_s: float, seed: int) -> tuple[float, float]:
    """Relative errors by tpb (NaN where NULL) and by usual practice: counter at the edges, or mean of the readings times duration."""
    rng = np.random.default_rng(seed)
    trace, start_s, end_s = idle_busy_idle(rng, length_s)
    read_s = np.arange(float(rng.uniform(0, 0.1)), end_s + 4.0, 0.1)
    series = kind.read(trace, read_s, rng)
    window = Window("busy", round(start_s * 1e9), round(end_s * 1e9))
    run = MemoryRun(manifest={"clock": {}}, channels=[kind.channel()], windows=[window], samples={"c": series})
    energy = RunEnergy(run)
    figure = domain_energy(energy, energy.tree.domains["n0/gpu0"], window, largest_u_share=1.0).total
    truth = trace.between(start_s, end_s)
    if kind.kind == "energy_counter":
        first, last = (series.value[max(int(np.searchsorted(read_s, t, "right")) - 1, 0)] for t in (start_s, end_s))
        usual = float(last - first)
    else:
        inside = (read_s >= start_s) & (read_s <= end_s)
        usual = float(series.value[inside].mean()) * length_s if inside.any() else np.nan
    return (np.nan if figure is None else figure.joules / truth - 1, usual / truth - 1)


if __name__ == "__main__":
    power_trace()
    phase_length()
