"""Talking to a service: sessions that expire, basic authentication, certificates, slow and broken answers, zeros and stale sensors."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, EventCode, Reason, Unavailable
from tpb_core.testing.bmc_double import redfish_tree as tree
from tpb_core.testing.bmc_double.redfish import PASSWORD, USER, RedfishService
from tpb_core.testing.meter_context import RecordingContext
from tpb_meter_redfish import RedfishConfig, RedfishMeter

METRICS = f"{tree.ROOT}/Chassis/1/EnvironmentMetrics"


def test_one_login_one_connection_and_a_logout(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 6540})
    meter, context = bench.run()
    assert {reading.value for reading in bench.watch(meter, 0.5)} == {6540.0}
    assert (bench.service.logins, len(bench.service.sessions), bench.service.connections) == (1, 1, 1)
    meter.close()
    assert bench.service.sessions == {}
    assert bench.service.requests[-1].startswith("DELETE ")
    assert context.events == []


def test_an_expired_session_is_renewed_without_a_word(bench: Any) -> None:
    watts = [600]
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": lambda: watts[0]})
    meter, context = bench.run()
    bench.watch(meter, 0.2)
    bench.service.expire()
    watts[0] = 700
    assert bench.watch(meter, 0.3)[-1].value == 700.0
    assert bench.service.logins == 2
    assert context.events == []


def test_a_user_that_was_removed_is_reported_once(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    meter, context = bench.run()
    bench.watch(meter, 0.2)
    bench.service.broken[METRICS] = 403
    bench.watch(meter, 0.1)
    assert bench.watch(meter, 0.3) == []
    assert [(event.code, event.channel) for event in context.events] == [(EventCode.METER_ERROR, "n0/redfish_1_power")]
    assert "403" in context.events[0].message


def test_basic_authentication_leaves_no_session(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    meter, _ = bench.run(auth="basic")
    assert bench.watch(meter, 0.2)
    assert bench.service.logins == 0


def test_secrets_stay_out_of_channels_events_and_refusals(bench: Any, tmp_path: Path) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    secret = tmp_path / "secret"
    secret.write_text("not-this-one\n")
    assert all(word not in str(channel.to_json()) for channel in bench.channels().values() for word in (USER, PASSWORD, "token-"))
    meter, _ = bench.meter(password_file=str(secret))
    with pytest.raises(Unavailable) as refusal:
        meter.discover()
    assert refusal.value.reason is Reason.NO_PERMISSION
    assert "not-this-one" not in "\n".join(refusal.value.lines())
    with pytest.raises(BadInput) as bad:
        RedfishMeter(RedfishConfig(url="https://me:hush@host"), RecordingContext()).discover()
    assert "hush" not in "\n".join(bad.value.lines())


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_named(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    meter, _ = bench.meter(ca_file="")
    with pytest.raises(Unavailable, match="not trusted") as refusal:
        meter.discover()
    assert "ca_file" in (refusal.value.fix or "")
    assert bench.service.requests == []  # no password was sent
    (channel,) = bench.channels(ca_file="", verify_tls=False).values()
    assert channel.extensions["x_tls"] == "not verified"
    (channel,) = bench.channels().values()
    assert channel.extensions["x_tls"] == "verified"


def test_plain_http_is_refused_unless_named() -> None:
    with RedfishService() as service:
        tree.chassis(service.tree, "1", metrics={"PowerWatts": 600})
        context = RecordingContext({"REDFISH_USER": USER, "REDFISH_PASSWORD": PASSWORD})
        with pytest.raises(BadInput, match="in clear"):
            RedfishMeter(RedfishConfig(url=service.url), context).discover()
        meter = RedfishMeter(RedfishConfig(url=service.url, verify_tls=False), context)
        assert len(meter.discover()) == 1
        meter.close()


def test_a_slow_service_holds_nobody_up_and_has_wide_brackets(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    meter, context = bench.run()
    bench.service.delay_s = 0.3
    longest_s, readings = 0.0, []
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        before = time.monotonic()
        readings += meter.read()
        longest_s = max(longest_s, time.monotonic() - before)
        time.sleep(0.01)
    assert longest_s < 0.1
    assert readings[-1].t_after_ns - readings[-1].t_before_ns > 280e6
    assert context.events == []


def test_a_service_that_hangs_is_named_and_close_does_not_wait_for_it(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    meter, context = bench.run(timeout_s=0.3)
    bench.watch(meter, 0.2)
    bench.service.delay_s = 2.0
    bench.watch(meter, 0.7)
    assert context.events[0].code is EventCode.METER_ERROR
    assert "no answer within 0.3 s" in context.events[0].message
    bench.service.delay_s = 0.0
    assert bench.watch(meter, 3.0)
    hanging, _ = bench.run(timeout_s=30.0)
    bench.service.delay_s = 8.0
    time.sleep(0.1)
    before = time.monotonic()
    hanging.close()
    assert time.monotonic() - before < 4.0
    bench.service.delay_s = 0.0


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b'{"PowerWatts": 5}', *(
    b'{"PowerWatts": {"Reading": %s}}' % reading for reading in (b'"n/a"', b"-3", b"1e999", b"true", b"null")
)])  # fmt: skip
def test_what_is_no_number_is_left_out_and_reported_once(bench: Any, body: bytes) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    meter, context = bench.run()
    bench.watch(meter, 0.2)
    bench.service.broken[METRICS] = body
    bench.watch(meter, 0.1)
    assert bench.watch(meter, 0.2) == []
    assert [(event.code, event.channel) for event in context.events] == [(EventCode.METER_ERROR, "n0/redfish_1_power")]
    bench.service.broken.clear()
    assert bench.watch(meter, 0.3)[-1].value == 600.0


def test_a_node_that_draws_nothing_is_a_glitch(bench: Any) -> None:
    watts = [600]
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": lambda: watts[0]})
    meter, context = bench.run()
    bench.watch(meter, 0.2)
    watts[0] = 0
    bench.watch(meter, 0.1)
    assert bench.watch(meter, 0.3) == []
    assert context.codes() == [EventCode.ZERO_GLITCH]


def test_the_sensors_own_time_is_kept_and_watched(bench: Any) -> None:
    stamps = ["2026-11-21T01:02:03.250+02:00"]
    path = tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    sensor = tree.sensor(bench.tree, path, "Total", lambda: 612.5, lambda: stamps[0])
    bench.tree[METRICS]["PowerWatts"]["DataSourceUri"] = sensor
    meter, context = bench.run()
    reading = bench.watch(meter, 0.2)[-1]
    moment = datetime.datetime(2026, 11, 20, 23, 2, 3, 250_000, tzinfo=datetime.UTC)
    assert (reading.value, reading.source_ns, reading.source_clock) == (612.5, int(moment.timestamp() * 1000) * 10**6, "device")
    stamps[0] = "2026-11-21T01:02:04+02:00"
    assert bench.watch(meter, 0.2)[-1].source_ns == reading.source_ns + 750_000_000
    assert context.events == []


def test_a_chassis_that_contradicts_its_feeds(bench: Any) -> None:
    path = tree.chassis(bench.tree, "1", metrics={"PowerWatts": 700})
    for name in ("PSU1", "PSU2"):
        tree.supply(bench.tree, path, name, {"InputPowerWatts": 600})
    meter, context = bench.run()
    bench.watch(meter, 0.8)
    assert [(event.code, event.channel) for event in context.events] == [(EventCode.METER_DISAGREEMENT, "n0/redfish_1_power")]
    assert "-42%" in context.events[0].message


def test_links_that_leave_the_service_are_not_followed(bench: Any) -> None:
    path = tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    for target in ("//evil.example/x", "https://evil.example/x", "/a b\r\nX: y"):
        bench.tree[METRICS]["PowerWatts"]["DataSourceUri"] = target
        assert list(bench.channels()) == ["n0/redfish_1_power"]
    bench.tree[path]["PowerSubsystem"] = {"@odata.id": "//evil.example/x"}
    bench.channels()
    assert not any("evil" in request for request in bench.service.requests)


def test_a_user_who_may_read_nothing(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    bench.service.broken[METRICS] = 403
    with pytest.raises(Unavailable) as refusal:
        bench.channels()
    assert refusal.value.reason is Reason.NO_PERMISSION


def test_a_password_that_is_changed_meanwhile_does_not_lock_the_user_out(bench: Any) -> None:
    tree.chassis(bench.tree, "1", metrics={"PowerWatts": 600})
    meter, context = bench.run()
    bench.watch(meter, 0.2)
    bench.service.locked = True
    bench.service.expire()
    before = len(bench.service.requests)
    bench.watch(meter, 1.0)
    assert 2 <= len(bench.service.requests) - before < 20  # every 30 ms it would be 60
    assert context.codes() == [EventCode.METER_ERROR]


def test_nobody_at_the_address() -> None:
    config = RedfishConfig(url="https://127.0.0.1:9", auth="none", timeout_s=1.0)
    with pytest.raises(Unavailable) as refusal:
        RedfishMeter(config, RecordingContext()).discover()
    assert refusal.value.reason is Reason.UNREACHABLE
