"""From a run to what is kept of its sensors: how they follow, and their gain and offset against a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tpb_core.api.attributor import RunView
from tpb_core.api.channel import Channel
from tpb_core.energy.calibration import Calibration
from tpb_core.energy.characterisation import Response
from tpb_core.energy.refresh_seen import RefreshSeen, refresh_seen
from tpb_core.run.device_store import Finding, identity
from tpb_core.store.manifest import utc_text


def timing_findings(run: RunView, responses: Mapping[str, Response]) -> list[Finding]:
    """One for each channel that followed. Counters have a delay only; a refresh period is kept where the meter declares none."""
    found = []
    channels = {channel.channel: channel for channel in run.channels}
    for name, response in responses.items():
        if response.reason is not None:
            continue
        channel = channels[name]
        values = {"delay_ms": response.delay_s, "delay_u_ms": response.delay_u_s}
        values |= {"averaging_ms": response.averaging_s, "averaging_u_ms": response.averaging_u_s}
        kept = {key: round(1e3 * value, 3) for key, value in values.items() if value is not None}
        refresh = refresh_of(run, channel)
        if not declares_refresh(channel) and refresh is not None and refresh.period_ms is not None and refresh.period_u_ms is not None:
            kept |= {"update_ms": round(refresh.period_ms, 3), "update_u_ms": round(refresh.period_u_ms, 3)}
        load = ((run.manifest.get("engine") or {}).get("model") or {}).get("name")
        found.append(_finding(run, channel, "characterised", kept, f"{response.edges} edges of {load}"))
    return found


def gain_finding(run: RunView, channel: Channel, reference: Channel, calibration: Calibration) -> Finding:
    """Gain and offset of a channel."""
    values = {
        "gain": calibration.gain,
        "offset_w": calibration.offset_w,
        "gain_u_rel": calibration.gain_u_rel,
        "offset_u_w": calibration.offset_u_w,
    }
    span = f"{calibration.levels} levels from {calibration.low_w:.4g} to {calibration.high_w:.4g} W"
    return _finding(run, channel, "calibrated", values, f"against {reference.channel} ({reference.meter}), {span}")


def refresh_of(run: RunView, channel: Channel) -> RefreshSeen | None:
    """How often a channel took a new value over the whole run."""
    series = run.series(channel.channel)
    return refresh_seen(series.t_ns.tolist(), series.value.tolist()) if len(series.t_ns) > 1 else None


def declares_refresh(channel: Channel) -> bool:
    """Whether the meter itself stated the refresh period."""
    filled: Any = (channel.extensions.get("x_characterised") or {}).get("filled_in") or ()
    return channel.update_ms is not None and "update_ms" not in filled


def _finding(run: RunView, channel: Channel, source: str, values: dict[str, float], note: str) -> Finding:
    machine = str((run.manifest.get("environment") or {}).get("machine_id") or "unknown")
    sensor, meter, tail, driver = identity(channel, machine)
    utc = str(run.manifest.get("started_utc") or utc_text())
    return Finding(sensor, meter, tail, driver, source, utc, values, note, run.run_id)
