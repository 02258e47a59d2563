"""One typed method a hook. A listener that fails is reported with its distribution and never stops the others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pluggy

from tpb_core import drivers
from tpb_core.api.errors import PluginFault, TpbError
from tpb_core.hooks import specs
from tpb_core.hooks.marks import PROJECT
from tpb_core.hooks.values import DoctorCheck, ReportColumn

GROUP = "tpb.hooks"

ReportFault = Callable[[TpbError], None]
"""What is done with a listener's failure. The session writes the event `hook_failed`; the default prints it."""


def _print_fault(fault: TpbError) -> None:
    print("\n".join(fault.lines()), file=sys.stderr)


class Hooks:
    """The listeners of one process. `Hooks.of_installed_plugins()` finds them; tests `listen` with their own."""

    def __init__(self, report_fault: ReportFault = _print_fault) -> None:
        self.report_fault = report_fault
        self._listeners = pluggy.PluginManager(PROJECT)
        self._listeners.add_hookspecs(specs)
        self._distributions: dict[str, str] = {}

    @classmethod
    def of_installed_plugins(cls, report_fault: ReportFault = _print_fault) -> Hooks:
        """All listeners named in the entry-point group `tpb.hooks`. One that cannot be imported is reported and left out."""
        hooks = cls(report_fault)
        for plugin in drivers.installed(GROUP):
            try:
                listener = drivers.load(GROUP, plugin.name)
            except TpbError as error:
                report_fault(error)
            else:
                hooks.listen(listener, name=plugin.name, distribution=plugin.distribution)
        return hooks

    def listen(self, listener: object, *, name: str, distribution: str) -> None:
        """Add one listener (a module, or an object). One with a misspelt hook or argument is reported and left out."""
        try:
            self._listeners.register(listener, name)
            self._listeners.check_pending()  # a misspelt hook would otherwise be silent
        except (pluggy.PluginValidationError, ValueError) as error:
            if self._listeners.has_plugin(name):
                self._listeners.unregister(name=name)
            self.report_fault(PluginFault(distribution, f"registering hook listener {name!r}", error))
        else:
            self._distributions[name] = distribution

    def run_started(self, point: Any) -> None:
        """See `specs.run_started`."""
        self._call("run_started", point=point)

    def bundle_complete(self, bundle: Path) -> None:
        """See `specs.bundle_complete`."""
        self._call("bundle_complete", bundle=bundle)

    def run_finished(self, bundle: Path) -> None:
        """See `specs.run_finished`."""
        self._call("run_finished", bundle=bundle)

    def report_columns(self, bundle: Path) -> list[ReportColumn]:
        """See `specs.report_columns`; the answers of all listeners in one list."""
        return [column for answer in self._call("report_columns", bundle=bundle) for column in answer]

    def doctor_checks(self) -> list[DoctorCheck]:
        """See `specs.doctor_checks`; the answers of all listeners in one list."""
        return [check for answer in self._call("doctor_checks") for check in answer]

    def _call(self, hook: str, **arguments: Any) -> list[Any]:
        """Every listener on its own: in pluggy's own loop the first that raises would silence the rest."""
        answers: list[Any] = []
        everyone = self._listeners.get_plugins()
        for name, listener in self._listeners.list_name_plugin():
            if listener is None:
                continue
            only_this = self._listeners.subset_hook_caller(hook, [other for other in everyone if other is not listener])
            try:
                answers += only_this(**arguments)
            except Exception as error:
                self.report_fault(PluginFault(self._distributions[name], f"listening to {hook}", error))
        return answers
