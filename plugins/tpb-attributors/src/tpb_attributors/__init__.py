"""Attributors of tpb. Light to import: arrays are imported when a bundle is attributed."""

from tpb_attributors.differencing import Differencing, DifferencingConfig
from tpb_attributors.disaggregated import Disaggregated, DisaggregatedConfig
from tpb_attributors.steps import Steps, StepsConfig
from tpb_attributors.totals import Totals, TotalsConfig
from tpb_attributors.windowed import Windowed, WindowedConfig

__all__ = [
    "Differencing",
    "DifferencingConfig",
    "Disaggregated",
    "DisaggregatedConfig",
    "Steps",
    "StepsConfig",
    "Totals",
    "TotalsConfig",
    "Windowed",
    "WindowedConfig",
]
