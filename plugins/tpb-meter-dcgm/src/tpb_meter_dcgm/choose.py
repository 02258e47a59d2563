"""Which way to DCGM is taken. Every way that was tried and failed is kept with its reason."""

from __future__ import annotations

from collections.abc import Callable

from tpb_core.api import Reason, Unavailable
from tpb_core.api.clock import Clock
from tpb_meter_dcgm.bindings import BindingsBackend
from tpb_meter_dcgm.cli import DcgmiBackend
from tpb_meter_dcgm.config import DcgmConfig
from tpb_meter_dcgm.entity import Backend, Entity
from tpb_meter_dcgm.exporter import ExporterBackend

WAYS: dict[str, Callable[[DcgmConfig, Clock], Backend]] = {"dcgmi": DcgmiBackend, "bindings": BindingsBackend, "exporter": ExporterBackend}
TELLING = (Reason.NO_PERMISSION, Reason.NO_SENSOR, Reason.UNREACHABLE, Reason.UNSUPPORTED, Reason.NOT_INSTALLED)
"""Of several reasons the one that says most: what is installed and does not answer tells more than what is not installed."""


def choose(config: DcgmConfig, clock: Clock) -> tuple[Backend, list[Entity], list[str]]:
    """The first way that works, its entities, and why the ones before it did not. Raises Unavailable where none does."""
    names = list(WAYS) if config.backend == "auto" else [config.backend]
    if config.backend == "auto" and config.url:
        names = ["exporter"]  # who gives an address means it
    failures: dict[str, Unavailable] = {}
    for name in names:
        backend = WAYS[name](config, clock)
        try:
            return backend, backend.discover(), [f"{way}: {failure.what}" for way, failure in failures.items()]
        except Unavailable as unavailable:
            backend.close()
            failures[name] = unavailable
    best = min(failures.values(), key=lambda failure: TELLING.index(failure.reason) if failure.reason in TELLING else len(TELLING))
    if len(failures) == 1:
        raise best
    tried = "; ".join(f"{way}: {failure.what}" for way, failure in failures.items())
    raise Unavailable(f"no way to DCGM works here ({tried})", reason=best.reason, fix=best.fix)
