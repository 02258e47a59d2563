"""The way through DCGM's Python bindings, which its packages install outside of any environment: values with the engine's own stamps."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tpb_core.api import Reason, Unavailable
from tpb_core.api.clock import Clock
from tpb_meter_dcgm.config import DcgmConfig
from tpb_meter_dcgm.entity import Entity, Value
from tpb_meter_dcgm.fields import Field, wanted
from tpb_meter_dcgm.values import value_of

FOLDERS = ("/usr/share/datacenter-gpu-manager-4/bindings/python3", "/usr/local/dcgm/bindings/python3")
KEEP_S = 60.0
LOCAL_HOST = "127.0.0.1"


class BindingsBackend:
    """Connects to a host engine, watches the fields, and takes all values since the last call."""

    name = "bindings"

    def __init__(self, config: DcgmConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self.period_ms = max(1.0, config.interval_ms)
        self._fields: dict[int, Field] = {}
        self._modules: dict[str, Any] = {}
        self._handle: Any = None
        self._group: Any = None
        self._field_group: Any = None
        self._collected: Any = None
        self._kinds: dict[int, str] = {}
        self._seen_us: dict[tuple[int, int, int], int] = {}
        self._complaints: list[str] = []

    def discover(self) -> list[Entity]:
        """Raises Unavailable: `not_installed` without bindings, `unreachable` without a host engine, `no_sensor` without entities."""
        self._load()
        try:
            return self._connect()
        except Exception as error:  # the bindings raise classes of their own that are made at run time
            self.close()
            if isinstance(error, Unavailable):
                raise
            fix = "Start the host engine: sudo systemctl start nvidia-dcgm    (or set meter.dcgm.host)"
            raise Unavailable(f"DCGM's bindings do not connect: {error}", reason=Reason.UNREACHABLE, fix=fix) from error

    def _load(self) -> None:
        folders = [self._config.bindings] if self._config.bindings else FOLDERS
        folder = next((path for path in folders if (Path(path) / "pydcgm.py").is_file()), None)
        fix = "Install datacenter-gpu-manager-4, or set meter.dcgm.bindings=FOLDER"
        if folder is None:
            raise Unavailable("DCGM's Python bindings are not installed", reason=Reason.NOT_INSTALLED, fix=fix)
        if folder not in sys.path:
            sys.path.append(folder)
        try:
            self._modules = {name: importlib.import_module(name) for name in ("pydcgm", "dcgm_structs", "dcgm_fields")}
        except (ImportError, OSError, AttributeError) as error:
            raise Unavailable(f"DCGM's Python bindings in {folder} do not load: {error}", reason=Reason.NOT_INSTALLED, fix=fix) from error

    def _connect(self) -> list[Entity]:
        pydcgm, structs, fields = (self._modules[name] for name in ("pydcgm", "dcgm_structs", "dcgm_fields"))
        self._handle = pydcgm.DcgmHandle(ipAddress=self._config.host or LOCAL_HOST, opMode=structs.DCGM_OPERATION_MODE_AUTO)
        system = self._handle.GetSystem()
        gpus = list(system.discovery.GetAllSupportedGpuIds())
        cpus = self._cpus(system, fields)
        if not gpus and not cpus:
            raise Unavailable("DCGM lists no GPU and no CPU", reason=Reason.NO_SENSOR, fix="dcgmi discovery -l")
        self._fields = {field.number: field for field in wanted(profiling=self._config.profiling, grace=bool(cpus))}
        name = f"tpb_{os.getpid()}"
        self._group = system.GetEmptyGroup(name)
        self._kinds = {fields.DCGM_FE_GPU: "gpu"}
        for gpu in gpus:
            self._group.AddEntity(fields.DCGM_FE_GPU, gpu)
        if cpus:
            self._kinds[fields.DCGM_FE_CPU] = "cpu"
            for cpu in cpus:
                self._group.AddEntity(fields.DCGM_FE_CPU, cpu)
        self._field_group = pydcgm.DcgmFieldGroup(self._handle, name, list(self._fields))
        self._group.samples.WatchFields(self._field_group, round(self.period_ms * 1000), KEEP_S, 0)
        system.UpdateAllFields(1)
        offered = self._offered()
        entities = [self._gpu(system, gpu, offered.get(("gpu", gpu), frozenset())) for gpu in gpus]
        return entities + [Entity("cpu", cpu, offered.get(("cpu", cpu), frozenset())) for cpu in cpus]

    def _cpus(self, system: Any, fields: Any) -> list[int]:
        if not hasattr(fields, "DCGM_FE_CPU"):  # bindings older than Grace
            return []
        with contextlib.suppress(Exception):  # host engines without the module for CPUs refuse the question
            return list(system.discovery.GetEntityGroupEntities(fields.DCGM_FE_CPU, True))
        return []

    def _gpu(self, system: Any, gpu: int, offered: frozenset[int]) -> Entity:
        identifiers = system.discovery.GetGpuAttributes(gpu).identifiers
        return Entity("gpu", gpu, offered, _text(identifiers.uuid), _text(identifiers.deviceName), driver=_text(identifiers.driverVersion))

    def _offered(self) -> dict[tuple[str, int], frozenset[int]]:
        """Fields that gave a value within a few updates."""
        found: dict[tuple[str, int], set[int]] = {}
        for _ in range(3):
            for value in self._values():
                found.setdefault((value.kind, value.number), set()).add(value.field.number)
            self._clock.sleep_until(self._clock.now_ns() + round(self.period_ms * 1e6))
        return {key: frozenset(numbers) for key, numbers in found.items()}

    def open(self) -> None:
        """The watches run since `discover`."""

    def read(self) -> Iterable[Value]:
        """All values since the last call. A host engine that went away is a complaint."""
        if self._group is None:
            return []
        try:
            return self._values()
        except Exception as error:  # classes made at run time, as above
            self._complaints.append(f"DCGM: {error}")
            return []

    def _values(self) -> list[Value]:
        self._collected = self._group.samples.GetAllSinceLastCall_v2(self._collected, self._field_group)
        now_ns, realtime_ns = self._clock.now_ns(), time.time_ns()
        values = []
        for group, by_entity in self._collected.values.items():
            for entity, by_field in by_entity.items():
                for number, series in by_field.items():
                    values += self._series((group, entity, number), series, now_ns, realtime_ns)
        self._collected.EmptyValues()
        return values

    def _series(self, key: tuple[int, int, int], series: Any, now_ns: int, realtime_ns: int) -> list[Value]:
        """New values of one field, dated by the engine's stamp. Where nothing is new, DCGM repeats the latest, known by its stamp."""
        group, entity, number = key
        known, kind = self._fields.get(number), self._kinds.get(group)
        if known is None or kind is None:
            return []
        values = []
        for position in range(len(series)):
            row = series[position]
            value = None if row.isBlank else value_of(row.value, whole=known.whole)
            if value is None or row.ts <= self._seen_us.get(key, 0):
                continue
            self._seen_us[key] = int(row.ts)
            source_ns = int(row.ts) * 1000
            taken_ns = now_ns - max(0, realtime_ns - source_ns)
            values.append(Value(kind, int(entity), known, value, taken_ns, taken_ns, source_ns))
        return values

    def complaints(self) -> list[str]:
        """Failed calls."""
        told, self._complaints = self._complaints, []
        return told

    def close(self) -> None:
        """Unwatch, delete the groups and disconnect."""
        steps: list[tuple[Any, Callable[[], Any]]] = [
            (self._group, lambda: self._group.samples.UnwatchFields(self._field_group)),
            (self._field_group, lambda: self._field_group.Delete()),
            (self._group, lambda: self._group.Delete()),
            (self._handle, lambda: self._handle.Shutdown()),
        ]
        for made, undo in steps:
            if made is not None:
                with contextlib.suppress(Exception):  # the host engine may be gone, and with it what would be undone
                    undo()
        self._group = self._field_group = self._handle = self._collected = None
        self._seen_us.clear()


def _text(value: Any) -> str | None:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
    return text or None
