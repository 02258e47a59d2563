"""Sessions of the IPMI meter on ipmi_sim: one for all readings, opened again when it dies, refused logins, secrets that stay secret."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, EventCode, Reason, Unavailable
from tpb_core.testing.bmc_double.ipmi_sim import PASSWORD, USER, IpmiSim
from tpb_core.testing.bmc_double.sensor_records import SimSensor
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.unprivileged import as_nobody
from tpb_meter_ipmi import IpmiConfig, IpmiMeter
from tpb_meter_ipmi.link import LinkError
from tpb_meter_ipmi.pure import PyghmiLink

PSUS = [SimSensor("PSU1 Power In"), SimSensor("PSU2 Power In", m=8)]


def children() -> set[int]:
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        found |= {int(pid) for pid in Path(f"/proc/self/task/{task}/children").read_text().split()}
    return found


def ipmitools() -> list[int]:
    return [pid for pid in children() if Path(f"/proc/{pid}/comm").read_text().strip() == "ipmitool"]


def test_one_process_for_all_readings_and_no_password_in_its_arguments(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS) as bmc:
        meter, _ = bench.run(bmc)
        first = ipmitools()
        assert len(bench.watch(meter, 0.5)) > 20
        assert ipmitools() == first
        assert len(first) == 1
        assert PASSWORD.encode() not in Path(f"/proc/{first[0]}/cmdline").read_bytes()
        for channel in meter._channels.values():
            assert PASSWORD not in str(channel.to_json())
            assert USER not in str(channel.to_json())


def test_a_session_that_dies_is_opened_again_a_few_times(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path) as bmc:
        meter, context = bench.run(bmc, restarts=2)
        for _ in range(2):
            assert bench.watch(meter, 0.3)
            os.kill(ipmitools()[0], 9)
            bench.watch(meter, 0.8)
        assert bench.watch(meter, 0.3)
        os.kill(ipmitools()[0], 9)
        bench.watch(meter, 0.5)
        assert bench.watch(meter, 0.3) == []
        assert context.codes() == [EventCode.METER_ERROR, EventCode.METER_ERROR, EventCode.METER_UNAVAILABLE]
        assert "opening the session again (1 more times)" in context.events[0].message


def test_a_controller_that_falls_silent_does_not_hold_the_sampler(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path) as bmc:
        meter, context = bench.run(bmc, timeout_s=0.5, restarts=0)
        assert bench.watch(meter, 0.3)
        bmc.stop()
        begin = time.monotonic()
        longest = 0.0
        while time.monotonic() < begin + 2.0:
            before = time.monotonic()
            list(meter.read())
            longest = max(longest, time.monotonic() - before)
            time.sleep(0.01)
        assert longest < 0.2
        assert "no answer within 0.5 s" in context.events[0].message
        assert context.codes() == [EventCode.METER_UNAVAILABLE]


def test_a_slow_controller_has_wide_brackets(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path) as bmc:
        bmc.dcmi(500, delay_ms=150)
        meter, _ = bench.run(bmc)
        readings = bench.watch(meter, 1.0)
        assert readings
        assert all(reading.t_after_ns - reading.t_before_ns > 140e6 for reading in readings)


@pytest.mark.parametrize("backend", ["ipmitool", "pyghmi"])
def test_a_wrong_password_is_named_and_not_shown(tmp_path: Path, backend: str, bench: Any) -> None:
    pytest.importorskip("pyghmi")
    secret = tmp_path / "secret"
    secret.write_text("not-this-one\nsecond line\n")
    with IpmiSim(tmp_path / "bmc") as bmc:
        meter, _ = bench.meter_on(bmc, backend=backend, password_file=str(secret))
        with pytest.raises(Unavailable) as refusal:
            meter.discover()
        meter.close()
    assert refusal.value.reason is Reason.NO_PERMISSION
    assert "not-this-one" not in "\n".join(refusal.value.lines())
    assert "IPMI_PASSWORD" in (refusal.value.fix or "")


def test_the_password_from_a_file(tmp_path: Path, bench: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSWORD}\n")
    with IpmiSim(tmp_path / "bmc") as bmc:
        meter, context = bench.meter_on(bmc, password_file=str(secret))
        context.environ = {"IPMI_USER": USER}
        assert len(meter.discover()) == 1
        meter.close()
    with pytest.raises(BadInput, match="cannot be read"):
        IpmiMeter(IpmiConfig(host="x", user="y", password_file=str(tmp_path / "none")), context).discover()


def test_a_cipher_suite_that_the_controller_does_not_have(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path) as bmc:
        meter, _ = bench.meter_on(bmc, cipher_suite=17)
        with pytest.raises(Unavailable, match="cipher suite 17") as refusal:
            meter.discover()
        assert refusal.value.reason is Reason.NO_PERMISSION


def test_the_older_protocol(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path, PSUS) as bmc:
        meter, _ = bench.run(bmc, interface="lan")
        assert {reading.value for reading in bench.watch(meter, 0.4) if reading.channel == "n0/ipmi_dcmi"} == {655.0}


def test_a_privilege_that_is_too_low_is_named(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path) as bmc:
        meter, _ = bench.meter_on(bmc, privilege="USER")
        with pytest.raises(Unavailable, match="insufficient privilege") as refusal:
            meter.discover()
        assert refusal.value.reason is Reason.NO_PERMISSION
        assert "ADMINISTRATOR" in (refusal.value.fix or "")


def test_a_controller_without_power(tmp_path: Path, bench: Any) -> None:
    with IpmiSim(tmp_path) as bmc:
        bmc.dcmi(0, code=0xC1)
        meter, _ = bench.meter_on(bmc)
        with pytest.raises(Unavailable, match="invalid command") as refusal:
            meter.discover()
        assert refusal.value.reason is Reason.UNSUPPORTED


def test_a_device_file_that_may_not_be_opened(tmp_path: Path) -> None:
    device = Path("/tmp") / f"tpb-ipmi-{os.getpid()}"
    device.touch()
    device.chmod(0)
    try:

        def refusal() -> tuple[str, str]:
            try:
                IpmiMeter(IpmiConfig(device=str(device)), RecordingContext()).discover()
            except Unavailable as unavailable:
                return str(unavailable.reason), unavailable.fix or ""
            return "", ""

        reason, fix = as_nobody(refusal)
    finally:
        device.unlink()
    assert reason == Reason.NO_PERMISSION
    assert f"sudo chmod a+rw {device}" in fix and "udev" in fix


def test_automatic_choice_says_at_once_that_there_is_none() -> None:
    begin = time.monotonic()
    with pytest.raises(Unavailable) as refusal:
        IpmiMeter(IpmiConfig(device="/no/such/device"), RecordingContext()).discover()
    assert time.monotonic() - begin < 0.5
    assert refusal.value.reason is Reason.NO_SENSOR


def test_ipmitool_dies_with_the_sampler_even_when_that_is_killed(tmp_path: Path, simulator: None) -> None:
    with IpmiSim(tmp_path) as bmc:
        code = (
            "from tpb_meter_ipmi import *; from tpb_core.testing.meter_context import RecordingContext; import os, signal, time\n"
            f"m = IpmiMeter(IpmiConfig(host='127.0.0.1', port={bmc.port}, backend='ipmitool'), "
            f"RecordingContext({{'IPMI_USER': {USER!r}, 'IPMI_PASSWORD': {PASSWORD!r}}}))\n"
            "m.open(); print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30)
        (pid,) = [int(word) for word in done.stdout.split()]
        deadline = time.monotonic() + 5
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_pyghmi_as_a_client_does_not_log_in_to_pyghmi_as_a_server(tmp_path: Path) -> None:
    pytest.importorskip("pyghmi")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "from pyghmi.ipmi import bmc\n"
        "import threading, time, os\n"
        f"server = bmc.Bmc({{'admin': 'password'}}, port={port}, address='127.0.0.1')\n"
        "threading.Timer(20, os._exit, (0,)).start()\n"
        "print('up', flush=True); server.listen()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == b"up\n"
            with pytest.raises(LinkError, match=r"backend=ipmitool|pyghmi"):
                PyghmiLink("127.0.0.1", port, "admin", "password", privilege="ADMINISTRATOR", timeout_s=2.0)
        finally:
            server.kill()
