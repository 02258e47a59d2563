"""Attribute a finished bundle with the attributors that were asked for, and say which of them refused and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tpb_core import drivers
from tpb_core.api.attributor import Attributor, AttributorConfig
from tpb_core.api.errors import PluginFault, PreconditionFailed, TpbError
from tpb_core.store.bundle import Bundle
from tpb_core.store.ledger import write_ledgers


@dataclass
class AttributionReport:
    """`methods` were written; `refused` maps an attributor to why it does not apply to this bundle."""

    methods: list[str] = field(default_factory=list)
    refused: dict[str, PreconditionFailed] = field(default_factory=dict)


def attribute_study(bundles: Sequence[Path], attributors: list[dict[str, Any]], folder: Path) -> AttributionReport:
    """Run the attributors of a whole study on its bundles and write their ledgers into `folder`. Raises as `attribute_bundle`."""
    report = AttributionReport()
    for options in attributors:
        name = options["name"]
        attributor_class = drivers.load("tpb.attributors", name)
        if attributor_class.scope != "study":
            continue
        attributor: Attributor[AttributorConfig] = attributor_class(attributor_class.config_class(**options))
        _attribute(attributor, name, [Bundle.open(bundle) for bundle in bundles], folder, report)
    return report


def attribute_bundle(folder: Path, attributors: list[dict[str, Any]]) -> AttributionReport:
    """Run each attributor on the bundle and write its ledgers into it. Raises `BadBundle`, `PluginFault` and OSError."""
    report = AttributionReport()
    bundle = Bundle.open(folder)
    for options in attributors:
        name = options["name"]
        attributor_class = drivers.load("tpb.attributors", name)
        if attributor_class.scope != "run":
            continue
        attributor: Attributor[AttributorConfig] = attributor_class(attributor_class.config_class(**options))
        _attribute(attributor, name, [bundle], folder, report)
    return report


def _attribute(
    attributor: Attributor[AttributorConfig], name: str, runs: Sequence[Bundle], folder: Path, report: AttributionReport
) -> None:
    try:
        ledgers = attributor.attribute(runs)
        folder.mkdir(parents=True, exist_ok=True)
        write_ledgers(folder, ledgers)  # ValueError where they do not add up
    except PreconditionFailed as refusal:
        report.refused[name] = refusal
    except (TpbError, OSError):
        raise
    except Exception as error:
        raise PluginFault(drivers.find("tpb.attributors", name).distribution, f"attributing {folder.name}", error) from error
    else:
        report.methods += [ledger.method for ledger in ledgers]
