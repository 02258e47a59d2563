"""OpenIPMI's `ipmi_sim` as a management controller on loopback whose watts follow what the test says."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tpb_core.testing.bmc_double.sensor_records import SimSensor, record

USER, PASSWORD = "watcher-42", "loop-back"
ACTIVE, INACTIVE = 0x40, 0x00
POLL_MS = 50
"""How often the simulator looks at the file of a sensor."""
_SOURCE = Path(__file__).with_name("dcmi_module.c")
_HEADER = Path("/usr/include/OpenIPMI/mcserv.h")
_LAN = """name "tpb"
loadlib "{module}" "{folder}/dcmi"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  user 1 true "" "{password}" user 10 none md2 md5 straight
  user 2 true "{user}" "{password}" admin 10 none md2 md5 straight
"""
_SENSOR = """sensor_add 0x20 0 {number} 0x0b 1 poll {poll} file "{path}"
sensor_set_event_support 0x20 0 {number} enable scanning per-state 000000000000000 000000000000000 000000000000000 000000000000000
main_sdr_add 0x20 {record}
"""


def what_is_missing() -> str | None:
    """What has to be installed before the simulator works here; None where it works."""
    missing = [name for name in ("ipmi_sim", "ipmitool", "gcc") if shutil.which(name) is None]
    if not _HEADER.is_file():
        missing.append(str(_HEADER))
    return f"not installed: {', '.join(missing)} (.ci/install-debian-packages)" if missing else None


def compile_module(folder: Path) -> Path:
    """The DCMI module as a shared object in `folder`; compiled once there."""
    module = folder / "dcmi_module.so"
    if not module.is_file():
        subprocess.run(["gcc", "-Wall", "-O1", "-shared", "-fPIC", "-o", str(module), str(_SOURCE)], check=True, timeout=60)
    return module


class IpmiSim:
    """`with IpmiSim(folder, sensors) as bmc`: RMCP and RMCP+ on 127.0.0.1:`bmc.port` for `USER` and `PASSWORD`.

    Only cipher suites 1 to 3 work, and the simulator does not answer the question for suites: ipmitool needs `-C 3`.
    """

    def __init__(self, folder: Path, sensors: Sequence[SimSensor] = (), dcmi_w: int = 655) -> None:
        self.folder, self.sensors = folder, list(sensors)
        folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.dcmi(dcmi_w)
        for sensor in self.sensors:
            self.sensor(sensor.name, 100.0)

    def dcmi(self, watts: int, state: int = ACTIVE, code: int = 0, delay_ms: int = 0) -> None:
        """What the DCMI power reading answers from now on; `code` other than 0 refuses with that completion code."""
        _replace(self.folder / "dcmi", f"{watts} {state} {code} {delay_ms}\n")

    def sensor(self, name: str, value: float) -> None:
        """What a sensor measures from now on, in its unit; it shows the nearest of its 256 steps."""
        number = [sensor.name for sensor in self.sensors].index(name)
        _replace(self.folder / f"sensor{number}", f"{self.sensors[number].raw(value)}\n")

    def settle(self) -> None:
        """Wait until the simulator has looked at the files of the sensors."""
        time.sleep(4 * POLL_MS / 1e3)

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        text = _LAN.format(module=compile_module(self.folder), folder=self.folder, port=self.port, user=USER, password=PASSWORD)
        (self.folder / "lan.conf").write_text(text)
        (self.folder / "sim.emu").write_text(self._emulation())
        with open(self.folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                ["ipmi_sim", "-n", "-c", "lan.conf", "-f", "sim.emu", "-s", str(self.folder / "state")],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 10
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError(f"ipmi_sim does not answer: {(self.folder / 'log').read_text()[-500:]}")
        self.settle()

    def stop(self) -> None:
        """End it at once, as a controller does that is reset. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _emulation(self) -> str:
        lines = ["mc_setbmc 0x20", "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02", "sel_enable 0x20 1000 0x0a"]
        for place, sensor in enumerate(self.sensors):
            hexadecimal = " ".join(f"0x{byte:02x}" for byte in record(sensor, place + 1))
            lines.append(_SENSOR.format(number=place + 1, poll=POLL_MS, path=self.folder / f"sensor{place}", record=hexadecimal))
        return "\n".join([*lines, "mc_enable 0x20", ""])

    def _answers(self) -> bool:
        """RMCP presence ping (ASF): answered before any session exists."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            try:
                probe.connect(("127.0.0.1", self.port))
                probe.send(bytes.fromhex("0600ff06000011be80000000"))
                return bool(probe.recv(64))
            except OSError:
                time.sleep(0.02)
                return False


def _replace(path: Path, text: str) -> None:
    """Write whole or not at all: the simulator reads at any moment."""
    next_path = path.with_name(path.name + ".next")
    next_path.write_text(text)
    os.replace(next_path, path)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
