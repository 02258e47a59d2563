"""The contract that plugin authors read: interfaces, records, codes, errors. Standard library only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # resolved on first use below, so that `tpb --help` and `tpb plugins list` need not load the whole contract
    from tpb_core.api.attributor import Attributor, AttributorConfig, Column, RunView, Series, StepMembers, Window
    from tpb_core.api.channel import EVIDENCE, KINDS, LEDGER_KINDS, ROLES, SCOPES, Channel, Reading
    from tpb_core.api.clock import Clock
    from tpb_core.api.codes import EventCode, Reason
    from tpb_core.api.engine import Capabilities, Engine, EngineConfig, EngineContext, EngineDescription, EngineSink, Tokenizer
    from tpb_core.api.errors import (
        BadBundle,
        BadInput,
        Interrupted,
        MeasurementFailed,
        PluginFault,
        PreconditionFailed,
        Refused,
        TpbError,
        Unavailable,
    )
    from tpb_core.api.ledger import BASES, PHASES, BudgetRow, EnergyRow, Ledger, ValidityRow
    from tpb_core.api.meter import Meter, MeterConfig, MeterContext, PowerControl, ReportEvent
    from tpb_core.api.options import MISSING, option
    from tpb_core.api.prompts import Prompt, PromptContext, PromptsConfig, PromptSource
    from tpb_core.api.requests import REQUEST_STATUSES, Member, Request, Sampling, Step
    from tpb_core.api.versions import ATTRIBUTOR_INTERFACE, ENGINE_INTERFACE, METER_INTERFACE, PROMPTS_INTERFACE, WORKER_PROTOCOL

__all__ = [
    "ATTRIBUTOR_INTERFACE",
    "BASES",
    "ENGINE_INTERFACE",
    "EVIDENCE",
    "KINDS",
    "LEDGER_KINDS",
    "METER_INTERFACE",
    "MISSING",
    "PHASES",
    "PROMPTS_INTERFACE",
    "REQUEST_STATUSES",
    "ROLES",
    "SCOPES",
    "WORKER_PROTOCOL",
    "Attributor",
    "AttributorConfig",
    "BadBundle",
    "BadInput",
    "BudgetRow",
    "Capabilities",
    "Channel",
    "Clock",
    "Column",
    "EnergyRow",
    "Engine",
    "EngineConfig",
    "EngineContext",
    "EngineDescription",
    "EngineSink",
    "EventCode",
    "Interrupted",
    "Ledger",
    "MeasurementFailed",
    "Member",
    "Meter",
    "MeterConfig",
    "MeterContext",
    "PluginFault",
    "PowerControl",
    "PreconditionFailed",
    "Prompt",
    "PromptContext",
    "PromptSource",
    "PromptsConfig",
    "Reading",
    "Reason",
    "Refused",
    "ReportEvent",
    "Request",
    "RunView",
    "Sampling",
    "Series",
    "Step",
    "StepMembers",
    "Tokenizer",
    "TpbError",
    "Unavailable",
    "ValidityRow",
    "Window",
    "option",
]  # fmt: skip

_ROOMS = ("attributor", "channel", "clock", "codes", "engine", "errors", "ledger", "meter", "options", "prompts", "requests", "versions")


def __getattr__(name: str) -> Any:
    import importlib

    if name in __all__:
        for room in _ROOMS:
            module = importlib.import_module(f"tpb_core.api.{room}")
            if hasattr(module, name):
                globals()[name] = getattr(module, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
