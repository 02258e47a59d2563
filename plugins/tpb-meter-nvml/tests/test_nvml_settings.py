"""Power limit and clock lock: set, reported, and put back for certain, also when the holder is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, EventCode, Reason, Refused, Unavailable
from tpb_core.testing.nvml_double import MigSlice
from tpb_meter_nvml.journal import Journal, Note, boot_id

HOLDER = """
import sys, time
from tpb_core.api import MeterContext
from tpb_core.testing.meter_context import ShiftedClock
from tpb_meter_nvml import NvmlConfig, NvmlMeter
meter = NvmlMeter(NvmlConfig(journal=sys.argv[1], characterise_s=0.0), MeterContext(ShiftedClock(), "run", lambda *event: None))
meter.discover()
meter.open()
meter.set_power_limit("GPU-a", 350.0)
meter.lock_clocks("GPU-a", 900, 1200)
print("held", flush=True)
time.sleep(60)
"""


def journal_files(bench: Any) -> list[Path]:
    return sorted((bench.folder / "journal").glob("*")) if (bench.folder / "journal").exists() else []


def test_a_limit_is_set_noted_and_put_back(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    meter = bench.opened()
    assert meter.set_power_limit("GPU-a", 350.0) == 350.0
    assert bench.double.settings(0) == (350.0, 0, 0)
    assert len(journal_files(bench)) == 1
    assert meter.restore() == ["GPU-a"]
    assert bench.double.settings(0) == (700.0, 0, 0)
    assert journal_files(bench) == []
    assert meter.restore() == [], "idempotent"
    assert bench.codes() == [EventCode.POWER_LIMIT_SET], "that it was restored is for the caller to tell, who gets the list"


def test_the_first_state_is_put_back_after_several_changes_and_close_is_enough(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a").gpu("h100", uuid="GPU-b")
    meter = bench.opened()
    for limit_w in (600.0, 400.0, 300.0):
        meter.set_power_limit("GPU-a", limit_w)
    meter.lock_clocks("GPU-b", 600, 900)
    assert (bench.double.settings(0), bench.double.settings(1)) == ((300.0, 0, 0), (700.0, 600, 900))
    assert bench.read(meter)["n0/gpu1/clock_sm"] == 900.0
    meter.close()
    assert (bench.double.settings(0), bench.double.settings(1)) == ((700.0, 0, 0), (700.0, 0, 0))
    told = [message for code, message, _ in bench.events if code == EventCode.POWER_LIMIT_RESTORED]
    assert told == ["GPU-a: power limit back to 700 W", "GPU-b: clocks unlocked"]


def test_boards_that_others_use_are_left_alone(bench: Any) -> None:
    slices = (MigSlice("MIG-1", 3, 1), MigSlice("MIG-2", 4, 2))
    bench.double.gpu("a100", uuid="GPU-a", mig_mode=True, mig=slices).gpu("a100", uuid="GPU-b")
    meter = bench.opened({"CUDA_VISIBLE_DEVICES": "MIG-1"}, mig="share")
    for device in ("GPU-a", "GPU-b"):
        with pytest.raises(Refused, match="not wholly"):
            meter.set_power_limit(device, 300.0)
    assert bench.double.changes() == []


def test_out_of_range_is_bad_input_and_changes_nothing(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    meter = bench.opened()
    with pytest.raises(BadInput, match="100 W"):
        meter.set_power_limit("GPU-a", 100.0)
    with pytest.raises(BadInput, match="GPU-x"):
        meter.set_power_limit("GPU-x", 300.0)
    with pytest.raises(BadInput, match="no range"):
        meter.lock_clocks("GPU-a", 900, 600)
    assert bench.double.changes() == []
    assert journal_files(bench) == []


def test_without_permission_nothing_is_left_behind(bench: Any) -> None:
    bench.double.permission = "read_only"
    bench.double.gpu("h100", uuid="GPU-a")
    meter = bench.opened()
    with pytest.raises(Unavailable) as caught:
        meter.set_power_limit("GPU-a", 350.0)
    assert caught.value.reason == Reason.NO_PERMISSION
    assert journal_files(bench) == []
    assert meter.restore() == []


def test_a_refused_change_keeps_the_note_of_an_earlier_one(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    meter = bench.opened()
    meter.set_power_limit("GPU-a", 350.0)
    bench.double.permission = "read_only"
    bench.double.rewrite()
    meter._nvml.nvmlShutdown()
    meter._nvml.nvmlInit()
    with pytest.raises(Unavailable):
        meter.lock_clocks("GPU-a", 600, 900)
    assert meter.restore() == [], "still forbidden, so the note stays"
    assert len(journal_files(bench)) == 1
    bench.double.permission = "full"
    bench.double.rewrite()
    meter._nvml.nvmlShutdown()
    meter._nvml.nvmlInit()
    assert meter.restore() == ["GPU-a"]
    assert bench.double.settings(0) == (700.0, 0, 0)


def test_a_journal_that_cannot_be_written_refuses_the_change(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    (bench.folder / "file").write_text("")
    meter = bench.opened(journal=str(bench.folder / "file"))
    with pytest.raises(Refused):
        meter.set_power_limit("GPU-a", 350.0)
    assert bench.double.changes() == []


def kill_a_holder(bench: Any) -> None:
    environment = {**os.environ, **bench.double.build()}
    command = [sys.executable, "-c", HOLDER, str(bench.folder / "journal")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert bench.double.settings(0) == (350.0, 900, 1200), "the holder had no chance to restore"


def test_after_kill_the_next_meter_restores(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    kill_a_holder(bench)
    bench.opened()
    assert bench.double.settings(0) == (700.0, 0, 0)
    assert journal_files(bench) == []
    assert EventCode.POWER_LIMIT_RESTORED in bench.codes()


def test_after_kill_the_command_restores(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    kill_a_holder(bench)
    command = [sys.executable, "-m", "tpb_meter_nvml.restore", str(bench.folder / "journal")]
    done = subprocess.run(command, env={**os.environ, **bench.double.build()}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "restored: GPU-a")
    assert bench.double.settings(0) == (700.0, 0, 0)
    again = subprocess.run(command, env={**os.environ, **bench.double.build()}, capture_output=True, text=True, check=False)
    assert again.stdout == "restored: nothing\n"


def test_a_living_holder_is_respected(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    environment = {**os.environ, **bench.double.build()}
    command = [sys.executable, "-c", HOLDER, str(bench.folder / "journal")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        meter = bench.opened()
        assert bench.double.settings(0) == (350.0, 900, 1200)
        with pytest.raises(Refused, match=str(holder.pid)):
            meter.set_power_limit("GPU-a", 500.0)
        holder.kill()


def test_what_a_third_party_set_meanwhile_is_left_alone(bench: Any) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    meter = bench.opened()
    meter.set_power_limit("GPU-a", 350.0)
    (bench.double.state / "GPU-a.settings").write_text("500000 0 0\n")
    assert meter.restore() == []
    assert bench.double.settings(0)[0] == 500.0
    assert journal_files(bench) == []


def test_notes_from_before_a_reboot_are_void(bench: Any, tmp_path: Path) -> None:
    bench.double.gpu("h100", uuid="GPU-a")
    Journal(bench.folder / "journal").write(Note("GPU-a", 1, "1", "another boot", limit_before_mw=250_000, limit_set_mw=700_000))
    bench.opened()
    assert bench.double.changes() == []
    assert journal_files(bench) == []


def test_a_torn_note_is_no_note(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "GPU-a.json").write_text('{"device": "GPU-a", "hold')
    assert journal.read("GPU-a") is None
    assert list(journal.left_behind()) == []
    assert boot_id() != ""
