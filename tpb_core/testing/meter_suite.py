"""The conformance suite of meters. A plugin passes it before it counts as a meter:

    class TestRapl(MeterSuite):
        @pytest.fixture
        def case(self, tmp_path):
            tree = PowercapTree(tmp_path)
            tree.zone("intel-rapl:0", "package-0", watts=40.0)
            with tree.moving():
                yield MeterCase(RaplMeter, RaplConfig(root=str(tmp_path)), true_watts={"n0/cpu0/energy": 40.0})

Two tiers: offline, on the stand-in that the fixture sets up, and live (`pytest --tpb-live`), with the meter's default options on this
machine. Tests of a capability that the case does not claim are skipped, with the capability's name.
"""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tpb_core.api import METER_INTERFACE, Channel, EventCode, Meter, MeterConfig, Reading, Unavailable
from tpb_core.api.versions import is_compatible
from tpb_core.testing.channel_rules import breaches
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_session import MeterSession, energy_from_readings

_SETTLES_S = 5.0


class MeterSuite:
    """Tests of one meter. Override `case`; the rest follows."""

    @pytest.fixture
    def case(self) -> Any:
        """The meter under test. To be overridden by a fixture that returns or yields a MeterCase."""
        raise NotImplementedError("override the fixture `case` with one that returns or yields a MeterCase")

    @pytest.fixture
    def session(self, case: MeterCase) -> Iterator[MeterSession]:
        """The meter on its stand-in, discovered and open."""
        session = MeterSession(case.meter, case.config, RecordingContext(case.environ), case.pids)
        with session.opened(case.settle_s):
            yield session

    @pytest.fixture
    def live_session(self, case: MeterCase, request: pytest.FixtureRequest) -> Iterator[MeterSession]:
        """The meter on this machine, with its default options."""
        if not request.config.getoption("--tpb-live", default=False):
            pytest.skip("live tier: pytest --tpb-live")
        session = MeterSession(case.meter, case.live_config(), RecordingContext(os.environ), [os.getpid()])
        try:
            session.discover()
        except Unavailable as unavailable:
            pytest.skip(f"{unavailable.reason}: {unavailable}")
        with session.opened(max(case.settle_s, 1.0)):
            yield session

    # Contract of the class

    def test_interface_version_is_one_that_this_core_loads(self, case: MeterCase) -> None:
        """`interface_version` is compatible."""
        assert is_compatible(case.meter.interface_version, METER_INTERFACE)

    def test_every_option_has_help_and_a_default(self, case: MeterCase) -> None:
        """The option table of `tpb +meter=x --help` comes from here; watts and times carry their unit."""
        assert issubclass(case.config_class, MeterConfig)
        assert case.config_class().name != "???", "the config class has to name its meter"
        for field in dataclasses.fields(case.config_class):
            assert field.metadata.get("help"), f"option {field.name} has no help text"
            for suffix, unit in {"_ms": "ms", "_s": "s", "_w": "W"}.items():
                if field.name.endswith(suffix):
                    assert field.metadata.get("unit") == unit, f"option {field.name} has unit {field.metadata.get('unit')!r}"

    def test_import_is_light(self, case: MeterCase) -> None:
        """Importing the meter's module pulls in no heavy library: `tpb plugins list` and the sampler's start stay fast."""
        code = f"import sys, {case.meter.__module__}; print(*[m for m in {list(case.heavy_modules)!r} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == []

    # Channels

    def test_channels_keep_the_rules_of_the_bundle(self, session: MeterSession) -> None:
        """Names, units, places in the tree, roles, evidence, manifest round trip."""
        assert session.channels, "discover returned no channel: it has to raise Unavailable instead"
        assert breaches(session.channels) == []

    def test_discover_twice_gives_the_same_channels(self, case: MeterCase) -> None:
        """Discovery has no side effect that a second one would see."""
        session = MeterSession(case.meter, case.config, RecordingContext(case.environ), case.pids)
        first = {channel.channel: channel.to_json() for channel in session.discover()}
        assert {channel.channel: channel.to_json() for channel in session.discover()} == first
        session.meter.close()

    def test_names_follow_the_node_and_the_machine(self, case: MeterCase) -> None:
        """On the second node of a run, channels and domains are under that node, and sensors do not collide with the first one's."""
        context = RecordingContext(case.environ, node="n1", machine_id="other-machine")
        meter = case.meter(case.config, context)
        for channel in meter.discover():
            assert channel.node == "n1"
            assert channel.domain.split("/")[0] == "n1"
        meter.close()

    # Readings

    def test_readings_are_of_announced_channels_and_stamped_on_the_run_clock(self, session: MeterSession) -> None:
        """Known channels; finite values; stamps in order. The suite's clock has an origin of its own, which no other clock shares."""
        names = {channel.channel for channel in session.channels}
        seen = set()
        for reading in session.watch(seconds=0.3):
            assert reading.channel in names
            assert isinstance(reading.t_before_ns, int)
            assert isinstance(reading.t_after_ns, int)
            assert reading.t_before_ns <= reading.t_after_ns
            assert session.plausible_stamp(reading), f"{reading} is not stamped with context.clock"
            assert isinstance(reading.value, float)
            assert math.isfinite(reading.value)
            assert (reading.source_ns is None) == (reading.source_clock is None)
            assert reading.source_clock in (None, "realtime", "monotonic", "device")
            seen.add(reading.channel)
        assert seen, "no channel was read"

    def test_values_stay_within_what_the_channel_announces(self, session: MeterSession) -> None:
        """Counters within their range, power not negative and below `max_power_w`."""
        channels = {channel.channel: channel for channel in session.channels}
        for reading in session.watch(seconds=0.3):
            channel = channels[reading.channel]
            if channel.kind in ("energy_counter", "time_counter"):
                assert reading.value >= 0
                assert not channel.wrap or reading.value <= channel.wrap
            if channel.kind == "power":
                assert reading.value >= 0
                assert channel.max_power_w is None or reading.value <= channel.max_power_w

    def test_counters_rise_or_wrap_plausibly(self, session: MeterSession) -> None:
        """A counter that falls is one wrap, and one only where the power stays below `max_power_w`."""
        channels = {channel.channel: channel for channel in session.channels}
        last: dict[str, Reading] = {}
        for reading in session.watch(seconds=0.4):
            channel, before = channels[reading.channel], last.get(reading.channel)
            last[reading.channel] = reading
            if before is None or channel.kind not in ("energy_counter", "time_counter") or reading.value >= before.value:
                continue
            assert channel.wrap, f"{channel.channel} fell from {before.value} to {reading.value} and announces no wrap"
            seconds = max(reading.t_after_ns - before.t_before_ns, 1) * 1e-9
            joules = reading.value - before.value + channel.wrap
            assert channel.max_power_w is None or joules / seconds <= channel.max_power_w

    def test_energy_agrees_with_the_stand_in(self, case: MeterCase, session: MeterSession) -> None:
        """Capability `true_watts`: mean power over `truth_s` within `truth_rel` of the truth."""
        if not case.true_watts:
            pytest.skip("capability true_watts is not claimed")
        readings = list(session.watch(seconds=case.truth_s))
        for channel in session.channels:
            if channel.channel in case.true_watts:
                joules, seconds = energy_from_readings(channel, [r for r in readings if r.channel == channel.channel])
                assert joules / seconds == pytest.approx(case.true_watts[channel.channel], rel=case.truth_rel), channel.channel
        assert set(case.true_watts) <= {channel.channel for channel in session.channels}

    # Faults

    def test_a_channel_that_breaks_is_left_out_and_reported(self, case: MeterCase, session: MeterSession) -> None:
        """Capability `break_channel`: no exception, no zero, one event (not one a reading), and the other channels go on."""
        if case.break_channel is None:
            pytest.skip("capability break_channel is not claimed")
        list(session.watch(seconds=0.1))
        broken = case.break_channel()
        list(session.watch(seconds=max(0.1, case.settle_s)))
        after = list(session.watch(seconds=0.3))
        assert [reading for reading in after if reading.channel == broken] == []
        events = [event for event in session.context.events if event.channel == broken or event.channel is None]
        codes = [event.code for event in events]
        assert EventCode.METER_ERROR in codes or EventCode.METER_UNAVAILABLE in codes
        assert len(codes) <= 5, f"{len(codes)} events for one fault: report once, not at each reading"
        others = {c.channel for c in session.channels} - {broken}
        assert not others or {reading.channel for reading in after} & others

    def test_refusals_carry_a_reason_and_what_to_type(self, case: MeterCase) -> None:
        """Capability `refusals`: `Unavailable` with the right code, a sentence and a fix; closing works afterwards."""
        if not case.refusals:
            pytest.skip("capability refusals is not claimed")
        for reason, config in case.refusals.items():
            meter = case.meter(config, RecordingContext(case.environ))
            with pytest.raises(Unavailable) as refusal:
                meter.discover()
            assert refusal.value.reason is reason
            assert refusal.value.what
            assert refusal.value.fix, "say what to type"
            meter.close()

    # Giving back

    def test_close_gives_everything_back_and_may_be_repeated(self, case: MeterCase) -> None:
        """No descriptor, thread or child process stays; a second close and a close without open do nothing."""
        case.meter(case.config, RecordingContext(case.environ)).close()
        self._open_and_close(case)  # what a library keeps for good (a loaded driver) is kept from here on
        before = _held()
        self._open_and_close(case)
        give_up_s = time.monotonic() + _SETTLES_S
        while _held() != before and time.monotonic() < give_up_s:
            time.sleep(0.05)  # the other end of a connection needs a moment to notice
        assert _held() == before

    def test_a_closed_meter_can_be_opened_again(self, case: MeterCase) -> None:
        """A new meter on the same source works after the first one was closed: nothing is locked for good."""
        self._open_and_close(case)
        session = MeterSession(case.meter, case.config, RecordingContext(case.environ), case.pids)
        with session.opened(case.settle_s):
            assert list(session.watch(seconds=0.2))

    def test_optional_calls_are_harmless(self, session: MeterSession) -> None:
        """Window edges, processes that do not exist, and changed processes."""
        session.meter.at_window_edge("measure")
        session.meter.engine_started([2**22 - 1])
        session.meter.engine_started([os.getpid()])
        session.meter.at_window_edge("measure")
        list(session.meter.read())

    def _open_and_close(self, case: MeterCase) -> None:
        session = MeterSession(case.meter, case.config, RecordingContext(case.environ), case.pids)
        with session.opened(case.settle_s):
            list(session.meter.read())
        session.meter.close()

    # Live tier

    def test_live_channels_and_readings(self, live_session: MeterSession) -> None:
        """On this machine: the rules hold, and what was announced is read within two seconds."""
        assert breaches(live_session.channels) == []
        readings = list(live_session.watch(seconds=2.0))
        assert {reading.channel for reading in readings} <= {channel.channel for channel in live_session.channels}
        assert readings
        assert all(math.isfinite(reading.value) and live_session.plausible_stamp(reading) for reading in readings)

    def test_live_power_is_plausible(self, live_session: MeterSession) -> None:
        """On this machine: every energy counter advances at a power between 0 and `max_power_w`."""
        readings = list(live_session.watch(seconds=3.0))
        for channel in live_session.channels:
            own = [reading for reading in readings if reading.channel == channel.channel]
            if channel.kind == "energy_counter" and len(own) > 1:
                joules, seconds = energy_from_readings(channel, own)
                assert 0 <= joules / seconds <= (channel.max_power_w or math.inf), channel.channel

    def test_live_reading_is_cheaper_than_the_interval(self, live_session: MeterSession) -> None:
        """On this machine: the median reading takes less than a tenth of the interval."""
        durations = []
        for _ in range(20):
            start = time.perf_counter()
            list(live_session.meter.read())
            durations.append(time.perf_counter() - start)
        assert sorted(durations)[10] < live_session.meter.config.interval_ms * 1e-3 / 10


def _held() -> tuple[int, int, list[str]]:
    """(open descriptors, threads, children) of this process."""
    children = []
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError), open(f"/proc/self/task/{task}/children") as stream:  # a thread may just have ended
            children += stream.read().split()
    return len(os.listdir("/proc/self/fd")), threading.active_count(), sorted(children)


__all__ = ["Channel", "Meter", "MeterCase", "MeterSuite"]
