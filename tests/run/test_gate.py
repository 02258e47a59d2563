"""The gate before a run, on histories whose verdict is plain."""

from __future__ import annotations

from typing import Any

from tpb_core.run.gate import Gate

S = 1_000_000_000


def channel(name: str, kind: str, unit: str, **more: Any) -> dict[str, Any]:
    return {"channel": name, "kind": kind, "unit": unit, "evidence": "measured", "averaging_ms": 100.0, "allocated": True, **more}


POWER, TEMPERATURE, UTILISATION = channel("p", "power", "W"), channel("t", "gauge", "degC"), channel("gpu/utilisation", "gauge", "%")


def blockers(gate: Gate, histories: dict[str, list[float]], step_s: int = 1) -> list[str]:
    """One reading of each channel every `step_s`; the verdict after the last."""
    length = max(len(history) for history in histories.values())
    for k in range(length):
        gate.observe(k * step_s * S, {name: (k * step_s * S, history[k]) for name, history in histories.items() if k < len(history)})
    return gate.blockers((length - 1) * step_s * S)


def test_a_quiet_device_opens_it_after_the_stated_time_and_not_before() -> None:
    quiet = {"p": [70.0, 71.0] * 16, "t": [40.0] * 32, "gpu/utilisation": [0.0] * 32}
    assert blockers(Gate([POWER, TEMPERATURE, UTILISATION], 30), quiet) == []
    assert blockers(Gate([POWER], 30), {"p": [70.0] * 10}) == ["the time of quiet is not over"]


def test_each_limit_keeps_it_shut_and_is_named() -> None:
    assert "moves by 8.0 W" in blockers(Gate([POWER], 10), {"p": [70.0, 78.0] * 10})[0]
    assert "66 degC" in blockers(Gate([TEMPERATURE], 10), {"t": [66.0] * 20})[0]
    assert "-12.0 degC a minute" in blockers(Gate([TEMPERATURE], 10), {"t": [60.0 - 0.2 * k for k in range(20)]})[0]
    assert "is at 5 %" in blockers(Gate([UTILISATION], 10), {"gpu/utilisation": [0.0] * 15 + [5.0] * 5})[0]


def test_what_is_past_is_forgotten() -> None:
    assert blockers(Gate([POWER, UTILISATION], 10), {"p": [300.0] * 5 + [70.0] * 15, "gpu/utilisation": [99.0] * 5 + [0.0] * 15}) == []


def test_a_channel_that_says_nothing_keeps_it_shut() -> None:
    assert blockers(Gate([POWER, TEMPERATURE], 10), {"p": [70.0] * 20}) == ["t gave no reading"]


def test_devices_of_others_estimates_and_unknown_averages_are_not_looked_at() -> None:
    foreign = channel("q", "power", "W", allocated=False)
    guess = channel("e", "power", "W", evidence="estimated")
    bmc = channel("b", "power", "W", averaging_ms=None)
    assert Gate([foreign, guess, bmc], 10).channels == []
