"""Machines for the NVML meter: compiled doubles seen by this process through the real nvidia-ml-py."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import EventCode, MeterContext
from tpb_core.testing.nvml_double import NvmlDouble, VirtualClock, compile_library
from tpb_core.testing.nvml_double.library import compiler
from tpb_meter_nvml import NvmlConfig, NvmlMeter


class Bench:
    """A machine on virtual time, the meter on it, and the events that it reported."""

    def __init__(self, folder: Path, library: Path, stack: contextlib.ExitStack) -> None:
        self.clock = VirtualClock(folder / "clock", start_ns=100_000_000_000)
        self.double = NvmlDouble(folder / "machine", clock=self.clock, library=library)
        (folder / "machine").mkdir()
        self.events: list[tuple[EventCode, str, str | None]] = []
        self.folder, self._stack, self._entered = folder, stack, False

    def meter(self, environ: dict[str, str] | None = None, **options: Any) -> NvmlMeter:
        """A meter on this machine as it has been described so far."""
        if not self._entered:
            self._stack.enter_context(self.double.in_process())
            self._entered = True
        self.double.rewrite()
        context = MeterContext(self.clock, "run", lambda *event: self.events.append(event), environ=environ or {})
        options = {"journal": str(self.folder / "journal"), "characterise_s": 0.0} | options
        meter = NvmlMeter(NvmlConfig(**options), context)
        self._stack.callback(meter.close)
        return meter

    def opened(self, environ: dict[str, str] | None = None, **options: Any) -> NvmlMeter:
        """A meter that was discovered and opened; the time is then 110 s."""
        meter = self.meter(environ, **options)
        meter.discover()
        meter.open()
        self.clock.sleep_until(110_000_000_000)
        return meter

    def codes(self) -> list[EventCode]:
        """Codes of the events so far."""
        return [code for code, _, _ in self.events]

    def read(self, meter: NvmlMeter) -> dict[str, float]:
        """One call of `read`, as values by channel."""
        return {reading.channel: reading.value for reading in meter.read()}


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if compiler() is None:
        pytest.skip("no C compiler")
    return compile_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def bench(tmp_path: Path, library: Path) -> Iterator[Bench]:
    with contextlib.ExitStack() as stack:
        yield Bench(tmp_path, library, stack)
