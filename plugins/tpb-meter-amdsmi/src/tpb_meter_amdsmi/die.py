"""The GPUs that amdsmi lists, and which of them share one power sensor: the dies of an MI250X, the partitions of an MI300."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tpb_core.api.visible import GpuIdentity
from tpb_meter_amdsmi.binding import ask, number


@dataclass(frozen=True)
class Die:
    """One GPU of amdsmi's list. `index` is HIP's; `has_power` whether it gives a power of its own.

    `driver` is the version of the amdgpu driver, where amdsmi tells it.
    """

    index: int
    uuid: str
    hip_uuid: str
    model: str
    serial: str
    has_power: bool
    driver: str | None = None

    def identity(self) -> GpuIdentity:
        """What the reading of `HIP_VISIBLE_DEVICES` needs to know."""
        return GpuIdentity(self.hip_uuid, self.model)


@dataclass(frozen=True)
class Socket:
    """Dies behind one sensor; the first one reports for all."""

    dies: tuple[Die, ...]

    @property
    def speaker(self) -> Die:
        """The die that reports."""
        return self.dies[0]


def list_dies(smi: Any) -> list[tuple[Die, Any]]:
    """Every GPU with its handle, in HIP's order where that is known."""
    listed = [(_die(smi, place, handle), handle) for place, handle in enumerate(smi.amdsmi_get_processor_handles())]
    return sorted(listed, key=lambda row: row[0].index)


def sockets_of(dies: Sequence[Die]) -> list[Socket]:
    """Dies grouped by the sensor that they share. A die without power belongs to the one before it of the same card or model."""
    groups: list[list[Die]] = []
    for die in dies:
        previous = groups[-1][0] if groups else None
        if previous is not None and not die.has_power and previous.has_power and _same_card(previous, die):
            groups[-1].append(die)
        else:
            groups.append([die])
    return [Socket(tuple(group)) for group in groups]


def _same_card(one: Die, other: Die) -> bool:
    known = one.serial not in ("", "N/A") and one.serial == other.serial
    return known or ("MI250" in one.model and one.model == other.model and other.index == one.index + 1 and other.index % 2 == 1)


def _die(smi: Any, place: int, handle: Any) -> Die:
    asic = ask(smi, smi.amdsmi_get_gpu_asic_info, handle) or {}
    listed = ask(smi, getattr(smi, "amdsmi_get_gpu_enumeration_info", _nothing), handle) or {}
    uuid = str(ask(smi, smi.amdsmi_get_gpu_device_uuid, handle) or ask(smi, smi.amdsmi_get_gpu_device_bdf, handle) or f"amd{place}")
    driver = ask(smi, getattr(smi, "amdsmi_get_gpu_driver_info", _nothing), handle) or {}
    hip = number(listed.get("hip_id"))
    return Die(
        index=place if hip is None else int(hip),
        uuid=uuid,
        hip_uuid=str(listed.get("hip_uuid") or f"GPU-{uuid}"),
        model=str(asic.get("market_name") or "AMD GPU"),
        serial=str(asic.get("asic_serial") or ""),
        has_power=any(watts for watts in powers_of(ask(smi, smi.amdsmi_get_power_info, handle)).values()),
        driver=str(driver["driver_version"]) if driver.get("driver_version") not in (None, "", "N/A") else None,
    )


def powers_of(info: Any) -> dict[str, float]:
    """Socket powers in watts by the channel's suffix: `power` now, `power_average` averaged. Zeros and `N/A` are left out."""
    keys = {"power": "current_socket_power", "power_average": "average_socket_power"}
    values = {suffix: number((info or {}).get(key)) for suffix, key in keys.items()}
    return {suffix: watts for suffix, watts in values.items() if watts}


def _nothing(handle: Any) -> None:
    """Older versions of amdsmi have no enumeration and do not tell the driver."""
