"""One measurement at a time."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tpb_core.api.errors import Refused
from tpb_core.run.interruption import Interruption
from tpb_core.run.machine_lock import LOCK_NAME, MachineLock

HOLDER = f"""
import fcntl, os, sys
fd = os.open(sys.argv[1] + "/{LOCK_NAME}", os.O_RDWR | os.O_CREAT, 0o666)
fcntl.flock(fd, fcntl.LOCK_EX)
os.pwrite(fd, b'{{"pid": 4711, "since": "12:00:00"}}', 0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_it_is_refused_when_asked_not_to_wait(holder: subprocess.Popen[str]) -> None:
    lock = MachineLock(wait=False, notice=print, interruption=Interruption())
    with pytest.raises(Refused, match="process 4711, since 12:00:00") as caught:
        lock.__enter__()
    assert caught.value.exit_code == 3
    holder.communicate()


def test_waiting_says_so_once_and_ends_with_the_holder(holder: subprocess.Popen[str]) -> None:
    notices: list[str] = []
    threading.Timer(1.2, lambda: holder.kill()).start()
    began_s = time.monotonic()
    with MachineLock(wait=True, notice=notices.append, interruption=Interruption()):
        waited_s = time.monotonic() - began_s
    holder.communicate()
    assert 1.0 < waited_s < 10
    assert len(notices) == 1


def test_it_is_free_again_afterwards_and_usable_by_other_users(folder: Path) -> None:
    for _ in range(2):
        with MachineLock(wait=False, notice=print, interruption=Interruption()):
            assert (folder / LOCK_NAME).stat().st_mode & 0o777 == 0o666


def test_a_link_in_its_place_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (folder / LOCK_NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(Refused), MachineLock(wait=False, notice=print, interruption=Interruption()):
        pass
    assert not (tmp_path / "precious").exists()
