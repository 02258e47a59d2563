"""What a meter's author tells the conformance suite: the meter, its set-up on a stand-in, and which capabilities can be tested there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tpb_core.api import Meter, MeterConfig, Reason


@dataclass
class MeterCase:
    """A meter on a stand-in for its hardware. Each capability that is given opens the tests for it; the others are skipped."""

    meter: type[Meter[MeterConfig]]
    config: MeterConfig
    """Options with which the meter works on the stand-in."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Environment of the engine."""
    pids: Sequence[int] = ()
    """Processes that the suite names as the engine's."""
    settle_s: float = 0.0
    """Longest time after `open` until each channel has been read once (push sources need some)."""
    true_watts: Mapping[str, float] = field(default_factory=dict)
    """Capability: channels of kind `power` or `energy_counter` whose true, constant power the stand-in knows."""
    truth_s: float = 0.5
    """How long the suite watches to compare with `true_watts`."""
    truth_rel: float = 0.05
    """Permitted relative deviation from `true_watts` over `truth_s`."""
    break_channel: Callable[[], str] | None = None
    """Capability: make one channel unreadable for good and return its name; the others keep working."""
    refusals: Mapping[Reason, MeterConfig] = field(default_factory=dict)
    """Capability: options with which `discover` has to raise `Unavailable` with that reason."""
    heavy_modules: Sequence[str] = ("numpy", "pandas", "torch", "pyarrow", "pynvml", "amdsmi", "requests", "httpx")
    """Modules that importing the meter's module must not pull in."""

    def live_config(self) -> MeterConfig:
        """Options for the live tier: the defaults of the meter."""
        return self.config_class()

    @property
    def config_class(self) -> type[MeterConfig]:
        """The meter's config class."""
        return self.meter.config_class
