"""tpb-sim: a simulated GPU server whose true energy is known. Engine, meter and truth for tpb, and `simulate` for studies in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tpb_sim.loads import Lengths, Load
    from tpb_sim.memory_run import SimRun
    from tpb_sim.simulation import Metering, WorldSpec, simulate

_HOMES = {
    "Lengths": "loads",
    "Load": "loads",
    "Metering": "simulation",
    "SimRun": "memory_run",
    "WorldSpec": "simulation",
    "simulate": "simulation",
}
__all__ = ["Lengths", "Load", "Metering", "SimRun", "WorldSpec", "simulate"]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: entry points load this package for its options alone."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
