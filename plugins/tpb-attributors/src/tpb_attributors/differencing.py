"""`differencing`: a study of interleaved pairs with one and with many output tokens; what the many cost more is decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from tpb_core.api import Attributor, AttributorConfig, Ledger, RunView, option

VERSION = "0.1.0"


@dataclass
class DifferencingConfig(AttributorConfig):
    """Options of `differencing`."""

    name: str = option("differencing", help="entry-point name of the attributor")


class Differencing(Attributor[DifferencingConfig]):
    """Phases without a step log or fast meter: paired differences of whole runs, with intervals between runs."""

    config_class = DifferencingConfig
    scope: ClassVar[str] = "study"

    def attribute(self, runs: Sequence[RunView]) -> list[Ledger]:
        """One ledger a point. Raises `PreconditionFailed` `arms`, `pairs`, `same_work` or `prefix_cache`."""
        from tpb_core.energy.differencing import difference, measured, pairs_of

        found = pairs_of([measured(run) for run in runs])
        return [difference(pairs, point, "differencing", VERSION) for point, pairs in found.items()]
