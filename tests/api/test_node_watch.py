"""Rooms that node meters share: zeros, sensors that stand still, feeds against the whole, credentials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpb_core.api import BadInput, Channel, EventCode, Reason, Unavailable
from tpb_core.api.credentials import read_credentials
from tpb_core.api.node_watch import NodeWatch
from tpb_core.api.zero_readings import STANDBY_AFTER, ZeroReadings

S = 10**9


def channel(name: str, role: str, scope: str, resolution: float = 1.0) -> Channel:
    return Channel(f"n0/{name}", "n0", scope, "power", "W", "measured", role=role, resolution=resolution, sensor=name)


NODE = [channel("dcmi", "check", "node"), channel("a", "part", "psu", 4.0), channel("b", "part", "psu", 4.0)]


def test_zeros_of_a_lone_sensor_never_count() -> None:
    zeros = ZeroReadings(frozenset())
    assert not any(zeros.accepts("dcmi", 0.0) for _ in range(20))
    assert zeros.accepts("dcmi", 6540.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 300.0])), max_size=60))
def test_a_zero_counts_only_after_a_row_of_zeros_beside_a_loaded_supply(readings: list[tuple[str, float]]) -> None:
    zeros, row, last = ZeroReadings(frozenset("ab")), {"a": 0, "b": 0}, {"a": 0.0, "b": 0.0}
    for source, watts in readings:
        other = "b" if source == "a" else "a"
        row[source] = row[source] + 1 if watts == 0 else 0
        last[source] = watts
        expected = watts > 0 or (row[source] > STANDBY_AFTER and last[other] > 0)
        assert zeros.accepts(source, watts) == expected


def test_one_that_stands_still_while_another_moves_is_told_once() -> None:
    watch = NodeWatch(NODE, stuck_s=30.0, disagreement_rel=9.0)
    for t_s in range(60):
        watch.reading("n0/dcmi", 400.0, t_s * S, None)
        watch.reading("n0/a", 200.0 + 4 * t_s, t_s * S, None)
    assert [(code, name) for code, _, name in watch.told] == [(EventCode.STUCK_SENSOR, "n0/dcmi")]
    assert "for 30 s" in watch.told[0][1]


def test_steps_of_the_resolution_are_no_movement() -> None:
    watch = NodeWatch(NODE, stuck_s=30.0, disagreement_rel=9.0)
    for t_s in range(120):
        watch.reading("n0/dcmi", 400.0, t_s * S, None)
        watch.reading("n0/a", 200.0 + 4 * (t_s % 2), t_s * S, None)
    assert watch.told == []


@pytest.mark.parametrize(("scope", "still_w", "told"), [("psu", 200.0, 1), ("psu", 16.0, 0), ("gpu", 200.0, 0), ("package", 200.0, 0)])
def test_a_supply_on_standby_and_an_idle_processor_may_stand_still(scope: str, still_w: float, told: int) -> None:
    watch = NodeWatch([channel("x", "part", scope), channel("a", "part", "psu")], stuck_s=30.0, disagreement_rel=9.0)
    for t_s in range(60):
        watch.reading("n0/x", still_w, t_s * S, None)
        watch.reading("n0/a", 300.0 + 4 * t_s, t_s * S, None)
    assert len(watch.told) == told


def test_a_stamp_that_stands_still_is_stale() -> None:
    watch = NodeWatch(NODE, stuck_s=30.0, disagreement_rel=9.0)
    for t_s in range(30):
        watch.reading("n0/dcmi", 400.0 + t_s, t_s * S, min(t_s, 5) * S)
    ((code, text, name),) = watch.told
    assert (code, name) == (EventCode.STUCK_SENSOR, "n0/dcmi")
    assert "time stamp stands still" in text


@pytest.mark.parametrize(("whole_w", "told"), [(1000.0, 0), (880.0, 0), (760.0, 1), (1300.0, 1)])
def test_the_whole_against_its_feeds(whole_w: float, told: int) -> None:
    # 1000 W of feeds, steps of 4 + 4 + 1 W: 880 W is surely 11.1 % off, 760 W 23.1 %, 1300 W 29.1 %; the limit is 15 %
    watch = NodeWatch(NODE, stuck_s=1e9, disagreement_rel=0.15)
    for t_s in range(30):
        for name, watts in (("a", 480.0), ("b", 520.0), ("dcmi", whole_w)):
            watch.reading(f"n0/{name}", watts, t_s * S, None)
        watch.sum_of_parts()
    assert len(watch.told) == told
    assert all(code is EventCode.METER_DISAGREEMENT and name == "n0/dcmi" for code, _, name in watch.told)


def test_a_feed_that_is_not_read_any_more_is_no_disagreement() -> None:
    watch = NodeWatch(NODE, stuck_s=1e9, disagreement_rel=0.15)
    for t_s in range(60):
        if t_s < 5:
            watch.reading("n0/a", 480.0, t_s * S, None)
        watch.reading("n0/b", 520.0, t_s * S, None)
        watch.reading("n0/dcmi", 1000.0 if t_s < 16 else 2500.0, t_s * S, None)
        watch.sum_of_parts()
    assert watch.told == []


@dataclass
class Options:
    """The options of a meter that logs in."""

    name: str = "ipmi"
    user: str = ""
    user_env: str = "THE_USER"
    password_env: str = "THE_PASSWORD"
    password_file: str = ""


def test_credentials_from_the_environment_and_from_a_file(tmp_path: Path) -> None:
    environ = {"THE_USER": "me", "THE_PASSWORD": "pass word"}
    found = read_credentials(Options(), environ, "bmc")
    assert (found.user, found.password) == ("me", "pass word")
    assert "pass word" not in repr(found)
    (tmp_path / "file").write_text("other\r\nnot this\n")
    assert read_credentials(Options(password_file=str(tmp_path / "file")), environ, "bmc").password == "other"
    assert read_credentials(Options(user="you"), environ, "bmc").user == "you"


def test_credentials_that_are_missing_or_unfit() -> None:
    with pytest.raises(Unavailable, match="bmc wants a user and a password") as refusal:
        read_credentials(Options(), {}, "bmc")
    assert refusal.value.reason is Reason.NOT_CONFIGURED
    assert "export THE_USER=USER" in (refusal.value.fix or "")
    with pytest.raises(BadInput, match="line ends"):
        read_credentials(Options(), {"THE_USER": "me\n", "THE_PASSWORD": "x"}, "bmc")
    with pytest.raises(BadInput, match=r"meter.ipmi.password_file"):
        read_credentials(Options(password_file="/no/such/file"), {"THE_USER": "me"}, "bmc")
