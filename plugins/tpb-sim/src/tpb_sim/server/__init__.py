"""Simulated servers: sequences, batchers, lanes and instances, host stamps, and the layouts known by name."""

from tpb_sim.server.batchers import ContinuousBatcher, Limits, StaticBatcher
from tpb_sim.server.layouts import LAYOUTS, ServerSpec, build_server, device_names, places
from tpb_sim.server.plan import Plan
from tpb_sim.server.sequence import Sequence
from tpb_sim.server.server import Lane, Server, StepDone
from tpb_sim.server.stamps import HostStamps

__all__ = [
    "LAYOUTS", "ContinuousBatcher", "HostStamps", "Lane", "Limits", "Plan", "Sequence", "Server", "ServerSpec", "StaticBatcher",
    "StepDone", "build_server", "device_names", "places",
]  # fmt: skip
