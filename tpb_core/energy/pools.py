"""Pools of a disaggregated engine: whatever an instance runs belongs to the phase that its pool is for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tpb_core.api import PreconditionFailed
from tpb_core.energy.activity import Activity
from tpb_core.energy.timeline import State

if TYPE_CHECKING:
    from tpb_core.api import RunView

KIND = {"prefill": State.PREFILL, "decode": State.DECODE}


def by_role(run: RunView, activity: Activity) -> Activity:
    """The activity with each step of the kind of its instance's pool.

    Raises PreconditionFailed: `no_step_log`; `pools` where instances are not all for prefill or decode (draft models apart), or share
    devices across pools.
    """
    if activity.reason is not None:
        raise PreconditionFailed(str(activity.reason), activity.reason.meaning, "Use an engine with a step log.")
    instances = (run.manifest.get("engine") or {}).get("instances") or []
    roles = {str(instance["instance"]): str(instance.get("role") or "mixed") for instance in instances}
    pools = {role: {d for i in instances if i.get("role") == role for d in i.get("devices") or []} for role in KIND}
    if not pools["prefill"] or not pools["decode"] or pools["prefill"] & pools["decode"]:
        raise PreconditionFailed("pools", "the engine has no instances for prefill and for decode on devices of their own")
    strange = sorted({role for role in roles.values() if role not in (*KIND, "draft")})
    unknown = sorted(set(np.unique(activity.instance).tolist()) - set(roles))
    if strange or unknown:
        raise PreconditionFailed("pools", f"instances that belong to no pool: {', '.join([*strange, *unknown])}")
    own = np.array([int(KIND.get(roles[name], State.OTHER)) for name in np.unique(activity.instance)], np.int8)
    kind = own[np.searchsorted(np.unique(activity.instance), activity.instance)]
    draft = kind == State.OTHER
    return replace(activity, kind=np.where(draft, activity.kind, kind).astype(np.int8))
