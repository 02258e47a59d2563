"""The coverage harness, on attributors whose coverage is known by construction, and the common practices by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from tpb_core.api import Attributor, AttributorConfig, EnergyRow, Ledger, PreconditionFailed, RunView
from tpb_sim import Load, Metering, SimRun, WorldSpec, simulate
from tpb_sim.coverage import Estimate, Expectation, NamedWorld, Tally, breaches, estimates_of, markdown, named_world, world_names
from tpb_sim.coverage.__main__ import main
from tpb_sim.coverage.cells import CELLS
from tpb_sim.coverage.others import GRACE_NS, PRACTICES, counter_at_edges, stretches
from tpb_sim.coverage.study import study
from tpb_sim.sensor import SENSORS
from tpb_sim.server import ServerSpec


class Oracle(Attributor[AttributorConfig]):
    """Knows the truth, errs by a normal error of 5 J and says so: its interval holds the truth 95 times in 100."""

    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        (run,) = runs
        assert isinstance(run, SimRun)
        row = run.truth(requests=False).row("measure", "total", "total")
        said = row.as_metered_j + 5.0 * np.random.default_rng(int(run.run_id[4:])).standard_normal()
        half = 1.959964 * 5.0
        return [
            Ledger(
                "oracle",
                "1",
                energy=[
                    EnergyRow("measure", "total", "total", "oracle", "gross", said, ci_low_j=said - half, ci_high_j=said + half),
                    EnergyRow("measure", "total", "prefill", "oracle", "gross", reason="gap"),
                ],
            )
        ]


class Refusing(Attributor[AttributorConfig]):
    """Refuses everything."""

    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        raise PreconditionFailed("one_stream", "this world has several")


SMALL = WorldSpec(load=Load(requests=4), idle_s=0.5, lead_s=0.5)


def tally_of(attributor: Attributor[AttributorConfig] | None, seeds: int, spec: WorldSpec = SMALL) -> Tally:
    counted = Tally()
    for seed in range(seeds):
        run = simulate(spec, seed)
        counted.add(estimates_of(run, run.truth(), attributor, "gross"))
    return counted


def test_the_coverage_of_an_oracle_is_what_it_states() -> None:
    rows = {row.figure: row for row in tally_of(Oracle(AttributorConfig(name="oracle")), 300).rows("small")}
    total = rows["total"]
    assert total.seeds == total.figures == 300
    assert total.within == pytest.approx(0.95, abs=0.035)
    assert total.rmse * 480.0 == pytest.approx(5.0, rel=0.2)  # four requests of some 480 J
    assert abs(total.bias) < 3 * total.rmse / 17
    assert total.width == pytest.approx(2 * 1.959964 * total.rmse, rel=0.2)
    assert rows["prefill"].null_share == 1.0
    assert np.isnan(rows["prefill"].bias)


def test_a_refusal_is_counted_by_its_name() -> None:
    (row,) = tally_of(Refusing(AttributorConfig(name="refusing")), 2).rows("small")
    assert (row.method, row.figure, row.null_share) == ("refusing: one_stream", "refused", 1.0)
    assert breaches(row, named_world("static_batch"), (0.9, 0.98)) == ["refusing: one_stream refuses the world"]


def test_tallies_of_parts_add_up() -> None:
    whole, first, second = Tally(), Tally(), Tally()
    estimates = [Estimate("m", "total", 10.0 + k, 9.0, 12.0, 8.0, 13.0, 11.0, 10.5) for k in range(4)]
    for place, estimate in enumerate(estimates):
        whole.add([estimate])
        (first if place < 2 else second).add([estimate])
    first.merge(second)
    assert first.rows("w") == whole.rows("w")
    (row,) = whole.rows("w")
    # errors against 10.5: -0.5, 0.5, 1.5, 2.5; all intervals hold both truths
    assert row.bias == pytest.approx(1.0 / 10.5)
    assert row.rmse == pytest.approx(((0.25 + 0.25 + 2.25 + 6.25) / 4) ** 0.5 / 10.5)
    assert (row.within, row.total, row.width) == (1.0, 1.0, pytest.approx(3.0 / 10.5))


def test_a_phase_that_took_no_time_is_no_test() -> None:
    tally = Tally()
    tally.add([Estimate("m", "idle", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)])  # no gap, and none is claimed
    tally.add([Estimate("m", "idle", 10.0, 9.0, 11.0, 8.0, 12.0, 20.0, 20.0)])  # missed
    tally.add([Estimate("m", "idle", 3.0, 2.0, 4.0, 2.0, 4.0, 0.0, 0.0)])  # a gap that was not there
    (row,) = tally.rows("w")
    assert (row.seeds, row.figures, row.within, row.total) == (3, 2, 0.0, 0.0)


def test_silence_and_vagueness_do_not_pass() -> None:
    world = NamedWorld("w", SMALL, {"total": Expectation(null_share=0.1, width=0.05)})
    good = tally_of(Oracle(AttributorConfig(name="oracle")), 100).rows("w")[1]._replace(within=0.95)
    assert good.figure == "total"
    assert breaches(good, world, (0.9, 0.98)) == []
    assert "NULL" in breaches(good._replace(null_share=0.2), world, (0.9, 0.98))[0]
    assert "width" in breaches(good._replace(width=0.06), world, (0.9, 0.98))[0]
    assert "holds the truth in 89.0%" in breaches(good._replace(within=0.89), world, (0.9, 0.98))[0]
    assert "total holds" in breaches(good._replace(total=1.0), world, (0.9, 0.98))[0]
    assert "| w | oracle | total |" in markdown([good], [world], (0.9, 0.98))


def exact_metering() -> Metering:
    return Metering(sensors=(dataclasses.replace(SENSORS["ideal"]),), interval_ms=1.0, lateness_ms=0.0)


def test_common_practices_on_one_stream_with_a_perfect_meter_agree_with_the_truth() -> None:
    spec = dataclasses.replace(SMALL, load=Load(shape="single", requests=3), metering=exact_metering())
    run = simulate(spec)
    truth = run.truth().row("measure", "total", "total", "pure").joules
    for practice in ("counter_at_edges", "window_around_each_request", "tokens_times_average", "mean_power_times_duration"):
        figures, requests = PRACTICES[practice](run)
        assert figures["total"] == pytest.approx(truth, rel=2e-3), practice
        assert sum(requests.values()) == pytest.approx(truth, rel=5e-3), practice


def test_a_window_around_each_request_counts_a_batch_of_four_four_times() -> None:
    run = simulate(dataclasses.replace(SMALL, metering=exact_metering()))
    truth = run.truth().row("measure", "total", "total").joules
    assert PRACTICES["window_around_each_request"](run)[0]["total"] == pytest.approx(4 * truth, rel=2e-3)


def test_grace_adds_idle_energy_after_the_end() -> None:
    run = simulate(dataclasses.replace(SMALL, metering=exact_metering(), lead_s=2.0))
    plain, late = counter_at_edges(run)[0]["total"], counter_at_edges(run, GRACE_NS)[0]["total"]
    assert late - plain == pytest.approx(0.666 * 120.0, abs=0.6)


def test_stretches_cover_the_busy_time_once() -> None:
    spans = stretches(simulate(SMALL))
    phases = [spans.prefill, spans.decode]
    busy_s = sum(float((t1 - t0).sum()) for t0, t1 in phases) / 1e9
    window_s = float((spans.window[1] - spans.window[0]).sum()) / 1e9
    assert busy_s == pytest.approx(window_s)  # a static batch without pauses


def test_all_practices_speak_of_every_named_world() -> None:
    for name in world_names():
        spec = named_world(name).spec
        run = simulate(dataclasses.replace(spec, load=dataclasses.replace(spec.load, requests=8)), seed=1)
        assert list(estimates_of(run, run.truth(), None, "gross")), name


def test_worlds_take_another_cost_model_and_refuse_unknown_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert type(named_world("poisson_middle:roofline").spec.cost).__name__ == "Roofline"
    assert named_world("poisson_middle:roofline").spec.load.requests == 3 * named_world("poisson_middle").spec.load.requests
    assert main(["--world", "poisson_midle", "--seeds", "1"]) == 2
    assert "Did you mean 'poisson_middle'?" in capsys.readouterr().err
    assert main(["--world", "static_batch", "--attributor", "stepps", "--seeds", "1"]) == 2
    assert "no attributor 'stepps'" in capsys.readouterr().err


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--world", "two_gains", "--attributor", "others", "--seeds", "1", "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("world,method,figure,seeds,figures,null_share,bias")
    assert any(line.startswith("two_gains,counter_at_edges,total,1,1,0.0,") for line in lines)


def test_servers_with_two_devices_are_metered_on_both() -> None:
    run = simulate(WorldSpec(server=ServerSpec(layout="data_parallel", devices=2), load=Load(shape="offline", requests=4)))
    assert {channel.domain for channel in run.channels} == {"n0/gpu0", "n0/gpu1"}


def test_every_world_has_one_stated_cell() -> None:
    plain = [cell.world for cell in CELLS if ":" not in cell.world]
    assert sorted(plain) == sorted(world_names())
    assert {cell.world.partition(":")[2] for cell in CELLS} == {"", "roofline", "attention", "power_cap", "experts", "warming"}
    for cell in CELLS:
        assert cell.figure in named_world(cell.world).expected, cell


def test_a_breach_of_a_stated_cell_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tpb_attributors")
    assert main(["--cells", "--world", "counter_reset", "--seeds", "2", "--coverage", "1.1", "1.2"]) == 1
    assert "the interval within the rig holds the truth in" in capsys.readouterr().out


def test_a_known_breach_is_shown_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tpb_attributors")
    assert main(["--cells", "--world", "gaps", "--seeds", "2", "--coverage", "1.1", "1.2"]) == 0
    out = capsys.readouterr().out
    assert "the interval within the rig holds the truth in" in out
    assert "Known of gaps, total: too wide" in out


def test_intervals_of_requests_are_neither_vague_nor_silent() -> None:
    """Steps of the same work differ by 2 %: a request is known to about 0.4 %, and its interval says so, not ten times as much."""
    row = next(row for row in study("poisson_middle", ["steps"], range(6)) if (row.method, row.figure) == ("steps/shapley", "request"))
    assert row.null_share == 0
    assert abs(row.bias) < 0.002
    assert 0.85 <= row.within <= 0.995
    assert row.width < 0.03


def test_a_counter_that_only_looks_now_and_then_says_what_it_may_have_missed() -> None:
    """A quarter of the time enters the counter: its total errs by 0.4 % from run to run, far more than its edges would tell."""
    row = next(row for row in study("poisson_duty_cycle", ["totals"], range(20)) if row.figure == "total")
    assert row.rmse > 0.002
    assert row.within >= 0.9
    assert row.width < 0.05


@pytest.mark.parametrize(
    ("world", "attributor", "figure", "bias", "width"),
    [
        ("draft_model", "steps", "prefill", 0.004, 0.04),
        ("long_context:attention", "steps", "prefill", 0.001, 0.004),
        ("poisson_saturating", "steps", "prefill", 0.005, 0.03),
        ("gaps", "totals", "total", 0.001, 0.005),
        ("counter_reset", "windowed", "prefill", 0.002, 0.01),
    ],
)
def test_figures_are_unbiased_and_say_how_well_they_are_known(world: str, attributor: str, figure: str, bias: float, width: float) -> None:
    row = next(r for r in study(world, [attributor], range(12)) if r.figure == figure and r.method in (attributor, f"{attributor}/shapley"))
    assert row.null_share == 0
    assert abs(row.bias) < bias
    assert row.within >= 0.75  # of twelve; the stated cells are held to more
    assert row.width < width


def test_a_sensor_that_is_read_just_when_it_refreshes_does_not_spoil_the_phases() -> None:
    """On the second device of this seed, reads see their refresh or just miss it by turns: stamps may be wrong by a whole period."""
    (row,) = (r for r in study("pipeline", ["steps"], range(3, 4)) if (r.method, r.figure) == ("steps/shapley", "prefill"))
    assert row.rmse < 0.02
