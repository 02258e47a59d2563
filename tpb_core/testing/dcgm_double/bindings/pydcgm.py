"""Stand-in for DCGM's module of this name: classes with the signatures of DCGM 4, over the machine file named by TPB_DCGM_MACHINE."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dcgm_fields  # type: ignore[import-not-found]
import dcgm_structs  # type: ignore[import-not-found]

from tpb_core.testing.dcgm_double.machine import DcgmMachine

KIND = {dcgm_fields.DCGM_FE_GPU: "GPU", dcgm_fields.DCGM_FE_CPU: "CPU"}
INT64_NOT_SUPPORTED = 0x7FFFFFFFFFFFFFF2


def _machine() -> DcgmMachine:
    path = Path(os.environ.get("TPB_DCGM_MACHINE", "/nonexistent"))
    if not path.exists():
        raise dcgm_structs.DCGMError(dcgm_structs.DCGM_ST_CONNECTION_NOT_VALID)
    return DcgmMachine.load(path)


class DcgmHandle:
    """A connection to a host engine."""

    def __init__(self, handle: Any = None, ipAddress: str | None = None, opMode: int = dcgm_structs.DCGM_OPERATION_MODE_AUTO,
                 persistAfterDisconnect: bool = False, unixSocketPath: str | None = None, timeoutMs: int = 0) -> None:  # fmt: skip
        _machine()
        self.handle: int | None = 1

    def GetSystem(self) -> DcgmSystem:
        return DcgmSystem(self)

    def Shutdown(self) -> None:
        self.handle = None


class DcgmSystem:
    """Global methods of a connection."""

    def __init__(self, dcgmHandle: DcgmHandle) -> None:
        self.discovery = DcgmSystemDiscovery()
        self._handle = dcgmHandle

    def UpdateAllFields(self, waitForUpdate: int) -> None:
        _machine()

    def GetEmptyGroup(self, groupName: str) -> DcgmGroup:
        return DcgmGroup(self._handle, groupName=groupName)


class DcgmSystemDiscovery:
    """What there is."""

    def GetAllSupportedGpuIds(self) -> list[int]:
        return list(range(len(_machine().gpus)))

    def GetGpuAttributes(self, gpuId: int) -> Any:
        gpu = _machine().gpus[gpuId]
        identifiers = SimpleNamespace(uuid=gpu.uuid, deviceName=gpu.name, pciBusId="00000000:07:00.0", driverVersion=gpu.driver)
        return SimpleNamespace(identifiers=identifiers)

    def GetEntityGroupEntities(self, entityGroupId: int, onlySupported: bool) -> list[int]:
        machine = _machine()
        return list(range(len(machine.cpus if entityGroupId == dcgm_fields.DCGM_FE_CPU else machine.gpus)))


class DcgmFieldGroup:
    """A list of fields."""

    def __init__(self, dcgmHandle: DcgmHandle, name: str = "", fieldIds: list[int] | None = None, fieldGroupId: Any = None) -> None:
        self.fieldIds = list(fieldIds or [])
        self.fieldGroupId = 7

    def Delete(self) -> None:
        self.fieldIds = []


class DcgmGroup:
    """A list of entities."""

    def __init__(self, dcgmHandle: DcgmHandle, groupId: int | None = None, groupName: str | None = None) -> None:
        self.entities: list[tuple[int, int]] = []
        self.samples = DcgmGroupSamples(self)

    def AddEntity(self, entityGroupId: int, entityId: int) -> None:
        self.entities.append((entityGroupId, entityId))

    def Delete(self) -> None:
        self.entities = []


class DcgmGroupSamples:
    """Watches and values of a group."""

    def __init__(self, group: DcgmGroup) -> None:
        self._group, self._frequency_us, self._watched = group, 0, False

    def WatchFields(self, fieldGroup: DcgmFieldGroup, updateFreq: int, maxKeepAge: float, maxKeepSamples: int) -> None:
        self._frequency_us, self._watched = updateFreq, True

    def UnwatchFields(self, fieldGroup: DcgmFieldGroup) -> None:
        self._watched = False

    def GetAllSinceLastCall_v2(self, dfvec: Any, fieldGroup: DcgmFieldGroup) -> DcgmFieldValueEntityCollection:
        collection = dfvec if dfvec is not None else DcgmFieldValueEntityCollection()
        collection.collect(_machine(), self._group.entities, fieldGroup.fieldIds, self._frequency_us)
        return collection


class DcgmFieldValue:
    """One value with its stamp in microseconds since 1970."""

    def __init__(self, fieldId: int, ts: int, value: Any) -> None:
        self.fieldId, self.ts = fieldId, ts
        self.isBlank = value is None
        self.value = INT64_NOT_SUPPORTED if value is None else value


class DcgmFieldValueTimeSeries:
    """Values of one field in order of time."""

    def __init__(self) -> None:
        self.values: list[DcgmFieldValue] = []

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: int) -> DcgmFieldValue:
        return self.values[key]


class DcgmFieldValueEntityCollection:
    """`values[entityGroupId][entityId][fieldId]`. Where nothing is new since the last call, the latest values come again."""

    def __init__(self) -> None:
        self.values: dict[int, dict[int, dict[int, DcgmFieldValueTimeSeries]]] = {}
        self._next_us = 0

    def EmptyValues(self) -> None:
        self.values = {}

    def collect(self, machine: DcgmMachine, entities: list[tuple[int, int]], fields: list[int], every_us: int) -> None:
        now_us = time.time_ns() // 1000
        latest_us = now_us // every_us * every_us
        stamps = list(range(max(self._next_us, latest_us - 10 * every_us), latest_us + 1, every_us)) if self._next_us else []
        self._next_us = latest_us + every_us
        for ts in stamps or [latest_us]:
            t_ns = time.monotonic_ns() - (time.time_ns() - ts * 1000)
            for group, entity in entities:
                for number in fields:
                    value = machine.value(KIND[group], entity, number, t_ns, ts // every_us)
                    series = self.values.setdefault(group, {}).setdefault(entity, {}).setdefault(number, DcgmFieldValueTimeSeries())
                    series.values.append(DcgmFieldValue(number, ts, value))
