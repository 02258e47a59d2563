"""The tree: what enters a sum, what is subtracted, what stays beside it. Constant powers, so every figure is known by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tpb_attributors import Totals, TotalsConfig
from tpb_core.api import Channel, EnergyRow, Ledger, Window
from tpb_core.testing.memory_run import MemoryRun, series_of

SECONDS = 10.0


def constant(
    domain: str, watts: float, parent: str | None = "n0", scope: str = "gpu", kind: str = "energy_counter", **keys: Any
) -> tuple[Channel, float]:
    unit = "J" if kind == "energy_counter" else "W"
    defaults: dict[str, Any] = {
        "evidence": "measured",
        "gain_u_rel": 0.01,
        "offset_u_w": 0.0,
        "update_ms": 1.0,
        "averaging_ms": 0.0,
        "delay_ms": 0.0,
    }
    name = keys.pop("name", f"{domain}/{kind}/{watts}")
    return Channel(name, domain, scope, kind, unit, parent=parent, **{**defaults, **keys}), watts


def totals(*channels: tuple[Channel, float], virtual: bool = False) -> Ledger:
    t = np.arange(90.0, 130.0, 0.1)
    samples = {c.channel: series_of(t, watts * t if c.kind == "energy_counter" else np.full(len(t), watts)) for c, watts in channels}
    windows = [Window("measure", 100_000_000_000, 110_000_000_000)]
    run = MemoryRun("run", {"clock": {"virtual": virtual}}, [c for c, _ in channels], windows, samples)
    return Totals(TotalsConfig()).attribute([run])[0]


def row(ledger: Ledger, domain: str, phase: str = "total", basis: str = "gross") -> EnergyRow:
    return next(r for r in ledger.energy if (r.domain, r.phase, r.basis) == (domain, phase, basis))


def joules(ledger: Ledger, domain: str) -> float | None:
    return row(ledger, domain).joules


def test_the_coarsest_measured_domain_of_each_branch_is_summed() -> None:
    ledger = totals(
        constant("n0/module0", 500.0, scope="module"),
        constant("n0/module0/gpu0", 400.0, parent="n0/module0"),
        constant("n0/cpu0", 60.0, scope="package"),
        constant("n0/cpu0/core", 50.0, parent="n0/cpu0", scope="core"),
        constant("n0/dram0", 10.0, scope="dram"),
        constant("n0/psys", 700.0, scope="psys"),
    )
    assert joules(ledger, "total") == pytest.approx(5700.0)
    assert joules(ledger, "n0/psys") == pytest.approx(7000.0)
    assert row(ledger, "total").scopes == ["module", "package", "dram"]


def test_under_a_node_meter_what_is_not_used_is_subtracted_and_the_rest_is_named() -> None:
    ledger = totals(
        constant("n0", 1000.0, parent=None, scope="node"),
        constant("n0/gpu0", 400.0),
        constant("n0/gpu1", 100.0, allocated=False),
    )
    assert joules(ledger, "total") == pytest.approx(9000.0)
    assert joules(ledger, "n0/gpu1") == pytest.approx(1000.0)
    assert joules(ledger, "n0/rest") == pytest.approx(5000.0)


def test_without_a_node_meter_a_device_that_is_not_used_is_left_out() -> None:
    ledger = totals(constant("n0/gpu0", 400.0), constant("n0/gpu1", 100.0, allocated=False))
    assert joules(ledger, "total") == pytest.approx(4000.0)


def test_a_domain_of_parts_is_their_sum() -> None:
    ledger = totals(
        constant("n0", 300.0, parent=None, scope="psu", role="part", name="n0/psu0"),
        constant("n0", 310.0, parent=None, scope="psu", role="part", name="n0/psu1"),
        constant("n0", 650.0, parent=None, scope="node", role="check", name="n0/bmc"),
    )
    assert joules(ledger, "total") == pytest.approx(6100.0)


def test_beside_a_counter_power_is_a_check_and_never_added() -> None:
    ledger = totals(constant("n0/gpu0", 400.0), constant("n0/gpu0", 420.0, kind="power"))
    assert joules(ledger, "n0/gpu0") == pytest.approx(4000.0)
    assert joules(ledger, "total") == pytest.approx(4000.0)


def test_estimates_enter_the_total_only_when_nothing_is_measured() -> None:
    estimate = constant("n0/cpu0", 30.0, scope="package", evidence="estimated")
    both = totals(constant("n0/gpu0", 400.0), estimate)
    assert joules(both, "total") == pytest.approx(4000.0)
    assert row(both, "total").evidence == "measured"
    alone = totals(estimate)
    assert joules(alone, "total") == pytest.approx(300.0)
    assert row(alone, "total").evidence == "estimated"


def test_a_domain_that_should_enter_and_has_no_figure_makes_the_total_null() -> None:
    silent = Channel("n0/cpu0/pkg", "n0/cpu0", "package", "energy_counter", "J", "measured", parent="n0")
    t = np.arange(90.0, 130.0, 0.1)
    gpu, watts = constant("n0/gpu0", 400.0)
    run = MemoryRun("run", {}, [gpu, silent], [Window("measure", 100_000_000_000, 110_000_000_000)], {gpu.channel: series_of(t, watts * t)})
    ledger = Totals(TotalsConfig()).attribute([run])[0]
    assert row(ledger, "n0/cpu0").reason == "no_reading"
    assert (joules(ledger, "total"), row(ledger, "total").reason) == (None, "domain_missing")
    assert joules(ledger, "n0/gpu0") == pytest.approx(4000.0)


def test_a_slice_counts_by_its_share_and_the_rest_of_its_board_is_not_the_runs() -> None:
    ledger = totals(constant("n0", 1000.0, parent=None, scope="node"), constant("n0/gpu0", 400.0, share=0.25, share_method="slices"))
    assert joules(ledger, "n0/gpu0") == pytest.approx(1000.0)
    assert joules(ledger, "total") == pytest.approx(7000.0)
    assert joules(ledger, "n0/rest") == pytest.approx(6000.0)
    assert row(ledger, "n0/gpu0").derivation == "apportioned"


def test_virtual_time_makes_everything_simulated() -> None:
    assert row(totals(constant("n0/gpu0", 400.0), virtual=True), "total").evidence == "simulated"


def test_without_any_sensor_the_total_is_null_with_the_reason() -> None:
    ledger = totals()
    assert (joules(ledger, "total"), row(ledger, "total").reason) == (None, "no_sensor")


def test_gain_of_one_sensor_adds_linearly_and_of_different_sensors_in_quadrature() -> None:
    one = totals(constant("n0/a", 300.0, sensor="S"), constant("n0/b", 400.0, sensor="S"))
    two = totals(constant("n0/a", 300.0, sensor="S"), constant("n0/b", 400.0, sensor="T"))
    assert row(one, "total").u_total_j == pytest.approx(70.0, rel=1e-3)
    assert row(two, "total").u_total_j == pytest.approx(50.0, rel=1e-3)


def test_gains_of_one_model_correlate_as_stated() -> None:
    cards = [constant(f"n0/gpu{k}", 400.0, sensor=f"S{k}", common_group="H100", common_r=0.4) for k in range(2)]
    assert row(totals(*cards), "total").u_total_j == pytest.approx(40.0 * np.sqrt(2 + 2 * 0.4), rel=1e-3)


def test_a_sensor_of_unknown_calibration_has_no_total_uncertainty() -> None:
    ledger = totals(constant("n0/gpu0", 400.0, gain_u_rel=None))
    assert row(ledger, "total").u_total_j is None
    assert row(ledger, "total").reason == "no_calibration_data"
    assert row(ledger, "total").u_without_calibration_j is not None


def test_gain_and_offset_corrections_are_applied_to_raw_samples() -> None:
    ledger = totals(constant("n0/gpu0", 400.0, gain=1.1, offset_w=5.0))
    assert joules(ledger, "n0/gpu0") == pytest.approx(SECONDS * (1.1 * 400.0 + 5.0))


def test_a_part_whose_module_nobody_measures_lies_in_its_node() -> None:
    cpu = constant("n0/module0/grace/cpu", 80.0, parent="n0/module0/grace", scope="package")
    ledger = totals(constant("n0", 1000.0, parent=None, scope="node"), cpu)
    assert joules(ledger, "total") == pytest.approx(10_000.0), "the node's meter has counted the CPU already"
    ledger = totals(constant("n0/gpu0", 400.0), cpu)
    assert joules(ledger, "total") == pytest.approx(4800.0)


def test_two_meters_of_one_cpu_in_a_module_count_it_once() -> None:
    cpu, socket = "n0/module0/grace/cpu", "n0/module0/grace"
    first = constant(cpu, 80.0, parent=socket, scope="package", role="primary", name="hwmon")
    second = constant(cpu, 80.0, parent=socket, scope="package", role="check", name="dcgm")
    sysio = constant(f"{socket}/sysio", 20.0, parent=socket, scope="uncore")
    assert joules(totals(first, second, sysio), "total") == pytest.approx(1000.0)
    module = constant("n0/module0", 500.0, scope="module")
    assert joules(totals(module, first, second, sysio), "total") == pytest.approx(5000.0)
