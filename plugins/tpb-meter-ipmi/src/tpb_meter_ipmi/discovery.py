"""The first conversation with a controller: who it is and what it can tell. Ends with an open session and its sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tpb_core.api.clock import Clock
from tpb_meter_ipmi import access
from tpb_meter_ipmi.config import IpmiConfig
from tpb_meter_ipmi.connect import Way, ways
from tpb_meter_ipmi.link import INSUFFICIENT_PRIVILEGE, CompletionError, Link, LinkError
from tpb_meter_ipmi.repository import power_sensors
from tpb_meter_ipmi.sources import Source

_APP, _DEVICE_ID, _SYSTEM_GUID = 0x06, 0x01, 0x37
_IMPOSSIBLE_GUIDS = (bytes(16), b"\xff" * 16)


@dataclass
class Controller:
    """An open session, the way to open it again, and what can be read. `extensions` are facts for the manifest."""

    link: Link
    reopen: Callable[[], Link]
    sources: list[Source]
    left_out: list[str] = field(default_factory=list)
    extensions: dict[str, Any] = field(default_factory=dict)


def find(config: IpmiConfig, environ: Mapping[str, str], clock: Clock) -> Controller:
    """Open a session that may read power and look for sources. Raises Unavailable with what to type.

    No higher privilege is tried after a login that failed: controllers lock users out.
    """
    said: list[str] = []
    tried = ways(config, environ)
    for way in tried:
        try:
            return _look_with_enough_privilege(config, way, clock)
        except LinkError as error:
            said.append(str(error))
    raise access.refused(_name(config), "; ".join(str(way) for way in tried), said[0])


class _TooLittlePrivilegeError(Exception):
    pass


def _look_with_enough_privilege(config: IpmiConfig, way: Way, clock: Clock) -> Controller:
    attempt: Way | None = way
    while attempt is not None:
        link = attempt.open()
        try:
            return _look(config, attempt, link, clock)
        except _TooLittlePrivilegeError:
            link.close()
            attempt = attempt.with_more_privilege()
        except BaseException:
            link.close()
            raise
    raise access.may_not_read(_name(config))


def _look(config: IpmiConfig, way: Way, link: Link, clock: Clock) -> Controller:
    sources: list[Source] = []
    refusal = "switched off by meter.ipmi.dcmi=false"
    if config.dcmi:
        try:
            Source().read(link)
            sources.append(Source())
        except CompletionError as error:
            refusal = str(error)
            if error.code == INSUFFICIENT_PRIVILEGE:
                raise _TooLittlePrivilegeError from error
        except ValueError as error:
            refusal = str(error)
    left_out = [f"DCMI: {refusal}"] if not sources else []
    if config.sdr:
        deadline_ns = clock.now_ns() + round(config.sdr_s * 1e9)
        found = power_sensors(link, lambda: clock.now_ns() > deadline_ns)
        sources += [Source(sensor) for sensor in found.sensors]
        left_out += found.left_out
    if not sources:
        raise access.no_power(_name(config), refusal)
    extensions = {"x_backend": link.backend, "x_session": link.details, **_identity(link)}
    return Controller(link, way.open, sources, left_out, extensions)


def _identity(link: Link) -> dict[str, Any]:
    """Maker, product and firmware of the controller, and the system's GUID where it has one."""
    facts: dict[str, Any] = {}
    for command, length in ((_DEVICE_ID, 11), (_SYSTEM_GUID, 16)):
        try:
            answer = link.request(_APP, command)
        except CompletionError:
            continue
        if len(answer) < length:
            continue
        if command == _DEVICE_ID:
            facts["x_bmc"] = {
                "manufacturer_id": int.from_bytes(answer[6:9], "little") & 0xFFFFF,
                "product_id": int.from_bytes(answer[9:11], "little"),
                "firmware": f"{answer[2] & 0x7F}.{answer[3]:02x}",
            }
        elif answer[:16] not in _IMPOSSIBLE_GUIDS:
            facts["x_system_guid"] = answer[:16].hex()
    return facts


def _name(config: IpmiConfig) -> str:
    return config.host or "of this machine"
