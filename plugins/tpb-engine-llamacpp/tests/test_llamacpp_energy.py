"""A real engine against a known truth: a RAPL counter that grows by a known cost of each real call of llama_decode."""

from __future__ import annotations

import json
import mmap
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from tpb_core.cli.main import main
from tpb_core.testing.sysfs_tree import EnergyFile, PowercapTree

pytestmark = [pytest.mark.real_engine, pytest.mark.slow, pytest.mark.timeout(300)]

SHIM = Path(__file__).parent / "decode_cost"
CALLS = 20_000
IDLE_W = 4.0
PREFILL_W, DECODE_W, SEQUENCE_W = 60.0, 20.0, 4.0
"""On top, while a call goes on: with prompts in it, else with decoding alone, and then for each sequence."""
Table = npt.NDArray[np.int64]


class DecodeCosts:
    """The log of calls, and the counter that follows it: idle power, and the power of each call while it goes on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "calls"
        self.path.write_bytes(bytes(8 + CALLS * 40))
        with self.path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.counter: EnergyFile = PowercapTree(folder / "powercap").zone("intel-rapl:0", "package-0", IDLE_W)
        self._since_ns = time.monotonic_ns()

    def calls(self) -> Table:
        """Begin, end (ns), power (mW), prefill and decode tokens of each call so far."""
        count = struct.unpack_from("q", self._map, 0)[0]
        return np.frombuffer(self._map[8 : 8 + count * 40], np.int64).reshape(-1, 5)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Within this block the counter follows the calls, refreshed about every 2 ms."""
        stop = threading.Event()
        thread = threading.Thread(target=self._follow, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _follow(self, stop: threading.Event) -> None:
        done, settled_j = 0, 0.0
        while not stop.wait(0.002):
            now_ns, calls = time.monotonic_ns(), self.calls()
            while done < len(calls) and calls[done, 1]:
                settled_j += joules_of(calls[done : done + 1])
                done += 1
            running_j = float(calls[done, 2]) * max(now_ns - int(calls[done, 0]), 0) / 1e12 if done < len(calls) else 0.0
            self.counter.energy_j = max(IDLE_W * (now_ns - self._since_ns) / 1e9 + settled_j + running_j, self.counter.energy_j)
            self.counter.attribute.write(self.counter.value_uj)


def joules_of(calls: Table) -> float:
    """What calls cost on top of idle power."""
    return float((calls[:, 2] / 1e3 * (calls[:, 1] - calls[:, 0]) / 1e9).sum())


class Truth:
    """What one run cost: of its window, and of its steps with prompts only, with decoding only, and with both."""

    def __init__(self, bundle: Path, costs: DecodeCosts) -> None:
        table = pq.read_table(bundle / "steps.parquet")
        begin, end, prefill, decode = (np.array(table[name]) for name in ("t0_ns", "t1_ns", "prefill_tokens", "decode_tokens"))
        window = next(row for row in pq.read_table(bundle / "windows.parquet").to_pylist() if row["window"] == "measure")
        inside = (begin >= window["t0_ns"]) & (end <= window["t1_ns"])
        calls, offset = costs.calls(), clock_offset_ns(bundle)
        calls = calls[(calls[:, 0] - offset >= window["t0_ns"]) & (calls[:, 1] - offset <= window["t1_ns"])]
        assert (calls[:, 3] == prefill[inside]).all(), "the engine's step log does not tell the prompt tokens of its calls"
        assert (calls[:, 4] == decode[inside]).all(), "the engine's step log does not tell the decoding sequences of its calls"
        seconds = ((end - begin) / 1e9)[inside]
        with_prompts, with_decoding = calls[:, 3] > 0, calls[:, 4] > 0

        def of(which: npt.NDArray[np.bool_]) -> float:
            return joules_of(calls[which]) + IDLE_W * float(seconds[which].sum())

        self.total = IDLE_W * (window["t1_ns"] - window["t0_ns"]) / 1e9 + joules_of(calls)
        self.prefill, self.decode = of(with_prompts & ~with_decoding), of(with_decoding & ~with_prompts)
        self.mixed = of(with_prompts & with_decoding)


def clock_offset_ns(bundle: Path) -> int:
    """The machine's monotonic clock minus the run's."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    (anchor, *_) = manifest["clock"]["anchors"]
    realtime_to_monotonic = time.monotonic_ns() - time.time_ns()
    return int(anchor["realtime_ns"] + realtime_to_monotonic - anchor["run_ns"])


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DecodeCosts]:
    """A counter that moves, and an environment in which engine workers have their calls written down."""
    folder = tmp_path_factory.mktemp("decode")
    made = DecodeCosts(folder)
    with pytest.MonkeyPatch.context() as patch, made.moving():
        patch.chdir(folder)
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv("PYTHONPATH", str(SHIM))
        patch.setenv("DECODE_COST_LOG", str(made.path))
        patch.setenv("DECODE_COST_MW", " ".join(str(round(watts * 1e3)) for watts in (PREFILL_W, DECODE_W, SEQUENCE_W)))
        patch.setattr("tempfile.tempdir", str(folder))
        yield made


def measured(*words: str) -> tuple[list[Path], Path]:
    """Run `tpb` with the real engine and the counter; its bundles and its folder."""
    folder = Path(f"runs-{len(list(Path().glob('runs-*')))}")
    common = ["engine=llamacpp", "engine.threads=1", "meter=[rapl]", "meter.rapl.root=powercap", "run.idle_s=1", "run.warmup_rounds=1"]
    assert main([*common, f"out.dir={folder}", *words]) == 0
    return sorted(path.parent for path in folder.glob("*/manifest.json")), folder


def found(path: Path, method: str) -> dict[str, dict[str, Any]]:
    """Gross energies of the run's total by phase."""
    rows = pq.read_table(path / "energy.parquet").to_pylist()
    return {r["phase"]: r for r in rows if (r["window"], r["domain"], r["basis"], r["method"]) == ("measure", "total", "gross", method)}


@pytest.fixture(scope="module")
def pairs(costs: DecodeCosts) -> tuple[list[Path], Path]:
    """Three pairs of runs in static batches, with one and with 16 output tokens, and the folder of what was found over all of them."""
    bundles, folder = measured(
        "-m", "+experiment=phases", "sampling.max_output_tokens=1,16", "run.repeats=3", "run.isolation=engine", "load.requests=6",
        "load.batch_size=2", "attributor=[totals,windowed,differencing]",
    )  # fmt: skip
    (study,) = (folder / "studies").iterdir()
    return bundles, study


@pytest.fixture(scope="module")
def served(costs: DecodeCosts) -> Path:
    """Three users who wait for their answers, in steps of 64 tokens: their prompts, of about as many, never fit into one step, so that
    each is computed while others decode, however fast the machine is."""
    ((bundle,), _) = measured(
        "load=closed", "load.concurrency=3", "load.requests=12", "sampling.max_output_tokens=12", "engine.batch_tokens=64",
        "attributor=[totals,steps]",
    )  # fmt: skip
    return bundle


def test_windowed_tells_the_phases_of_static_batches(pairs: tuple[list[Path], Path], costs: DecodeCosts) -> None:
    for bundle in pairs[0]:
        truth, rows = Truth(bundle, costs), found(bundle, "windowed")
        near = pytest.approx
        assert truth.mixed == 0.0
        assert rows["total"]["joules"] == near(truth.total, rel=0.01)
        assert rows["prefill"]["joules"] == near(truth.prefill, abs=0.01 * truth.total)
        assert rows["decode"]["joules"] == near(truth.decode, abs=0.01 * truth.total)
        assert rows["decode"]["ci_kind"] == "within_run"


def test_differencing_tells_them_from_whole_runs(pairs: tuple[list[Path], Path], costs: DecodeCosts) -> None:
    """Prefill is what the runs with one token cost, decode what the others cost more: of the truth, not of what was measured."""
    bundles, study = pairs
    truths = [Truth(bundle, costs) for bundle in bundles]
    single, many = ([t for t in truths if (t.decode > 0) == decoded] for decoded in (False, True))
    assert (len(single), len(many)) == (3, 3)
    first, second = (sum(truth.total for truth in group) / 3 for group in (single, many))
    rows = found(study, "differencing")
    assert rows["prefill"]["joules"] == pytest.approx(first, abs=0.02 * second)
    assert rows["decode"]["joules"] == pytest.approx(second - first, abs=0.02 * second)
    assert rows["decode"]["ci_kind"] == "between_runs"


def test_steps_tells_them_where_steps_do_both(served: Path, costs: DecodeCosts) -> None:
    """What a mixed call would have cost with one kind of work only, nobody knows of a real engine: the parts lie between the pure steps
    and all steps with that work, and together they are what all calls cost."""
    truth = Truth(served, costs)
    assert truth.mixed > 0.1 * truth.total
    off = 0.01 * truth.total
    for rule in ("shapley", "incremental", "token"):
        rows = found(served, f"steps/{rule}")
        prefill, decode = rows["prefill"]["joules"], rows["decode"]["joules"]
        assert prefill + decode == pytest.approx(truth.prefill + truth.decode + truth.mixed, abs=off)
        assert truth.prefill - off <= prefill <= truth.prefill + truth.mixed + off
        assert truth.decode - off <= decode <= truth.decode + truth.mixed + off
