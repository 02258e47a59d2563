"""The conformance suite finds faults: each of these meters breaks one rule, and the test made for it fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from tpb_core.api import Channel, EventCode, Meter, MeterConfig, Reading, Reason, Unavailable, option
from tpb_core.testing.channel_rules import breaches
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_session import MeterSession
from tpb_core.testing.meter_suite import MeterSuite


@dataclass
class GoodConfig(MeterConfig):
    """Options of a good meter."""

    name: str = option("good", help="entry-point name")
    available: bool = option(True, help="whether the sensor is there")


class GoodMeter(Meter[GoodConfig]):
    """A counter of 50 W and a power of 20 W, computed from the time; the second can be broken."""

    config_class = GoodConfig
    broken = False

    def discover(self) -> list[Channel]:
        """Two channels."""
        if not self.config.available:
            raise Unavailable("there is no sensor", reason=Reason.NO_SENSOR, fix="Buy one.")
        return [self.channel("a", "energy_counter", "J"), self.channel("b", "power", "W")]

    def channel(self, name: str, kind: str, unit: str) -> Channel:
        """A channel of its own domain."""
        node = self.context.node
        return Channel(f"{node}/{name}", f"{node}/{name}", "board", kind, unit, "measured", parent=node, node=node, sensor=name, wrap=0.0)

    def read(self) -> Iterable[Reading]:
        """Both channels, the second unless it is broken."""
        before = self.context.clock.now_ns()
        yield Reading(f"{self.context.node}/a", before, before, 50.0 * time.monotonic())
        if not type(self).broken:
            yield Reading(f"{self.context.node}/b", before, before, 20.0)
        elif not hasattr(self, "told"):
            self.told = True
            self.context.report_event(EventCode.METER_ERROR, "broken", f"{self.context.node}/b")


@pytest.fixture(autouse=True)
def whole() -> None:
    GoodMeter.broken = False


def break_second() -> str:
    GoodMeter.broken = True
    return "n0/b"


def good_case(meter: type[Meter[GoodConfig]] = GoodMeter) -> MeterCase:
    return MeterCase(
        meter, GoodConfig(), true_watts={"n0/a": 50.0, "n0/b": 20.0}, break_channel=break_second,
        refusals={Reason.NO_SENSOR: GoodConfig(available=False)},
    )  # fmt: skip


class TestGoodMeter(MeterSuite):
    @pytest.fixture
    def case(self) -> MeterCase:
        return good_case()


class ForgetsUnit(GoodMeter):
    def discover(self) -> list[Channel]:
        return [self.channel("a", "energy_counter", "mJ")]


class StampsWithItsOwnClock(GoodMeter):
    def read(self) -> Iterable[Reading]:
        now = time.monotonic_ns()
        return [Reading(f"{self.context.node}/a", now, now, 1.0)]


class FallsWithoutWrap(GoodMeter):
    count = 100.0

    def read(self) -> Iterable[Reading]:
        self.count -= 1.0
        return [Reading(f"{self.context.node}/a", *[self.context.clock.now_ns()] * 2, self.count)]


class StoresZeros(GoodMeter):
    def read(self) -> Iterable[Reading]:
        return [*super().read(), *([Reading("n0/b", *[self.context.clock.now_ns()] * 2, 0.0)] if GoodMeter.broken else [])]


class Floods(GoodMeter):
    def read(self) -> Iterable[Reading]:
        if GoodMeter.broken:
            self.context.report_event(EventCode.METER_ERROR, "broken", "n0/b")
        return [r for r in super().read() if r.channel.endswith("a") or not GoodMeter.broken]


class WrongByAFactor(GoodMeter):
    def read(self) -> Iterable[Reading]:
        return [reading._replace(value=reading.value * 1.2) for reading in super().read()]


class LeaksDescriptors(GoodMeter):
    def open(self) -> None:
        self.descriptor = os.open(os.devnull, os.O_RDONLY)


class SaysNotWhatToType(GoodMeter):
    def discover(self) -> list[Channel]:
        if not self.config.available:
            raise Unavailable("there is no sensor", reason=Reason.NO_SENSOR)
        return super().discover()


class UnannouncedChannel(GoodMeter):
    def read(self) -> Iterable[Reading]:
        return [Reading("n0/c", *[self.context.clock.now_ns()] * 2, 1.0)]


SUITE = MeterSuite()


def on_session(test: Callable[[MeterSession], None]) -> Callable[[MeterCase], None]:
    def run(case: MeterCase) -> None:
        session = MeterSession(case.meter, case.config, RecordingContext())
        with session.opened():
            test(session)

    return run


def on_both(test: Callable[[MeterCase, MeterSession], None]) -> Callable[[MeterCase], None]:
    return lambda case: on_session(lambda session: test(case, session))(case)


FAULTS = [
    (ForgetsUnit, on_session(SUITE.test_channels_keep_the_rules_of_the_bundle)),
    (StampsWithItsOwnClock, on_session(SUITE.test_readings_are_of_announced_channels_and_stamped_on_the_run_clock)),
    (UnannouncedChannel, on_session(SUITE.test_readings_are_of_announced_channels_and_stamped_on_the_run_clock)),
    (FallsWithoutWrap, on_session(SUITE.test_counters_rise_or_wrap_plausibly)),
    (StoresZeros, on_both(SUITE.test_a_channel_that_breaks_is_left_out_and_reported)),
    (Floods, on_both(SUITE.test_a_channel_that_breaks_is_left_out_and_reported)),
    (WrongByAFactor, on_both(SUITE.test_energy_agrees_with_the_stand_in)),
    (LeaksDescriptors, SUITE.test_close_gives_everything_back_and_may_be_repeated),
    (SaysNotWhatToType, SUITE.test_refusals_carry_a_reason_and_what_to_type),
]


@pytest.mark.parametrize(("meter", "test"), FAULTS, ids=[meter.__name__ for meter, _ in FAULTS])
def test_a_fault_is_found(meter: type[Meter[GoodConfig]], test: Callable[[MeterCase], None]) -> None:
    with pytest.raises(AssertionError):
        test(good_case(meter))


def channel(**changes: object) -> Channel:
    settings: dict[str, object] = {"parent": "n0", "sensor": "s", **changes}
    required = {"channel": "n0/x", "domain": "n0/x", "scope": "board", "kind": "power", "unit": "W", "evidence": "measured"}
    return Channel(**{**required, **settings})  # type: ignore[arg-type]


def two(first: str | None, second: str | None) -> list[Channel]:
    return [channel(role=first), channel(channel="n0/y", role=second)]


@pytest.mark.parametrize(("channels", "message"), [
    ([channel(), channel()], "occurs twice"),
    ([channel(scope="socket")], "scope"),
    ([channel(channel="gpu0")], "does not begin with its node"),
    ([channel(sensor=None)], "needs its sensor"),
    ([channel(averaging_ms=-1.0)], "averaging_ms"),
    ([channel(max_power_w=0.0)], "max_power_w"),
    ([channel(gain_u_rel=0.05)], "its source"),
    ([channel(extensions={"hint": 1})], "x_"),
    ([channel(resolution=float("nan"))], "resolution"),
    ([channel(parent="n0/x")], "inside itself"),
    ([channel(), channel(channel="n0/y", parent="n0/z")], "several parents"),
    (two("primary", "primary"), "2 primary"),
    (two("primary", "part"), "primary channel and parts"),
    ([channel(scope="psys")], "alternative total"),
    ([channel(extensions={"x_path": object()})], "cannot be written"),
])  # fmt: skip
def test_breaches_of_the_bundle_rules_are_named(channels: list[Channel], message: str) -> None:
    assert any(message in breach for breach in breaches(channels))


def test_channels_without_fault() -> None:
    assert breaches([channel(role="primary"), channel(channel="n0/y", role="check", kind="energy_counter", unit="J")]) == []
