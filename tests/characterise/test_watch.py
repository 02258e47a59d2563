"""`tpb watch` on a powercap tree that moves: one table, a line a period, reasons for what does not work, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tpb_core.cli.main import main
from tpb_core.testing.sysfs_tree import PowercapTree

WATTS = 42.0


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return ["+meter=[rapl,hwmon]", f"meter.rapl.root={tmp_path}/powercap", f"meter.hwmon.root={tmp_path}/nothing"]


def test_once_prints_power_of_counters_and_what_does_not_work(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = PowercapTree(tmp_path / "powercap")
    tree.zone("intel-rapl:0", "package-0", WATTS)
    with tree.moving():
        assert main(["watch", "--once", *words]) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("n0/cpu0/energy")]
    shown = re.search(r"([\d.]+) W", line)
    assert shown is not None and float(shown[1]) == pytest.approx(WATTS, rel=0.05)
    assert "primary" in line
    assert "hwmon does not work here: no_sensor" in said
    assert not (tmp_path / "runs").exists(), "nothing is stored"


@pytest.mark.parametrize("how", [signal.SIGINT, None], ids=["Ctrl-C", "q in a terminal"])
def test_it_goes_on_until_told_and_ends_with_0(words: list[str], tmp_path: Path, how: signal.Signals | None) -> None:
    tree = PowercapTree(tmp_path / "powercap")
    tree.zone("intel-rapl:0", "package-0", WATTS)
    command = [sys.executable, "-m", "tpb_core.cli.main", "watch", "--every", "0.3s", *words]
    with tree.moving():
        if how is None:
            code, said = _in_terminal(command)
        else:
            code, said = _in_pipe(command, how)
    assert code == 0
    shown = [float(watts) for watts in re.findall(r"([\d.]+) ?W", said)]
    assert any(watts == pytest.approx(WATTS, rel=0.1) for watts in shown), said


def _in_pipe(command: list[str], how: signal.Signals) -> tuple[int, str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if len(lines) == 8:
            process.send_signal(how)
            break
    lines += process.stdout.readlines()
    process.stdout.close()
    assert lines[0].startswith("hwmon does not work here")
    assert re.match(r"\d\d:\d\d:\d\d\.\d  n0/cpu0/energy=", lines[1])
    return process.wait(20), "".join(lines)


def _in_terminal(command: list[str]) -> tuple[int, str]:
    """A pseudo terminal of 40 lines; q after the first powers are shown."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    said = bytearray()

    def collect() -> None:
        while True:
            try:
                said.extend(os.read(ours, 65536))
            except OSError:
                return

    reader = threading.Thread(target=collect)
    reader.start()
    give_up_s = time.monotonic() + 30
    while b" W" not in said and time.monotonic() < give_up_s:
        time.sleep(0.05)
    os.write(ours, b"q")
    code = process.wait(20)
    reader.join(5)
    os.close(ours)
    return code, said.decode(errors="replace")
