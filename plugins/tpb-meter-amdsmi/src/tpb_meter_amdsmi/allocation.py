"""Which sockets the run uses. A die never gets its pair's power: it is refused, or apportioned and labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tpb_core.api import Reason, Unavailable
from tpb_core.api.visible import VisibleGpus, hip_visible
from tpb_meter_amdsmi.channels import Part
from tpb_meter_amdsmi.die import Die, Socket


def visible_dies(dies: Sequence[Die], devices: str, environ: Mapping[str, str]) -> VisibleGpus:
    """What the option `devices` says, and under `auto` the engine's environment."""
    if devices != "auto":
        environ = {} if devices == "all" else {"HIP_VISIBLE_DEVICES": devices}
    return hip_visible(environ, [die.identity() for die in dies])


def allocate(sockets: Sequence[Socket], visible: VisibleGpus, partial: str) -> list[Part]:
    """Each socket's part. Raises Unavailable: `not_configured` where devices cannot be told, `mig_slice` where all was refused."""
    if visible.problem is not None:
        fix = "Name whole UUIDs or indices in HIP_VISIBLE_DEVICES, or set meter.amdsmi.devices=INDEX,..."
        raise Unavailable(visible.problem, reason=Reason.NOT_CONFIGURED, fix=fix)
    parts = [_part(socket, set(visible.boards), partial) for socket in sockets]
    refused = [part.refused for part in parts if part.refused]
    if refused and not any(part.allocated for part in parts):
        fix = "Use all dies of a card, or accept an apportioned figure: meter.amdsmi.partial=share"
        raise Unavailable(refused[0], reason=Reason.MIG_SLICE, fix=fix)
    return parts


def _part(socket: Socket, visible: set[str], partial: str) -> Part:
    used = sum(die.hip_uuid in visible for die in socket.dies)
    if used == len(socket.dies):
        return Part(True)
    if used == 0:
        return Part(False)
    if partial == "share":
        return Part(True, share=used / len(socket.dies))
    what = f"the run uses {used} of {len(socket.dies)} dies of {socket.speaker.model} {socket.speaker.uuid}, which share one power sensor"
    return Part(False, refused=what)
