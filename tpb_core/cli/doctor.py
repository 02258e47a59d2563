"""`tpb doctor`: which engines and meters work here, which do not, why, and what to type. Changes nothing; exit code 0."""

from __future__ import annotations

import importlib.util
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tpb_core import __version__, drivers, known
from tpb_core.api.errors import EXIT_DONE, BadInput
from tpb_core.cli.probe import probe
from tpb_core.cli.text_table import text_table

Answers = dict[str, dict[str, Any]]


def main(argv: list[str]) -> int:
    """Takes no arguments."""
    if argv in (["-h"], ["--help"]):
        print("tpb doctor   which engines and meters work here, which do not, why, and what to type")
        return EXIT_DONE
    if argv:
        raise BadInput(f"tpb doctor takes no arguments, and got {' '.join(argv)!r}.", "Type:  tpb doctor")
    print(f"tpb {__version__}, Python {sys.version.split()[0]} ({sys.executable})\n")
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        engines, meters = (_ask_all(group, pool) for group in ("tpb.engines", "tpb.meters"))
    _print("Engines", engines, "tpb.engines")
    _print_environments()
    _print("Meters", meters, "tpb.meters")
    _print_findings()
    _print_listeners_checks()
    if any(answer["energy"] for answer in meters.values()):
        print("A power sensor is readable here: energy can be measured.")
    else:
        print("No power sensor is readable here: energy will not be measured. The way out stands beside each meter above.")
    return EXIT_DONE


def _ask_all(group: str, pool: ThreadPoolExecutor) -> Answers:
    names = drivers.names(group)
    return {name: answer for told in pool.map(lambda name: probe(group, name), names) for name, answer in told.items()}


def _print(title: str, answers: Answers, group: str) -> None:
    print(title)
    print(text_table([_row(name, answer) for name, answer in sorted(answers.items())] or [("none", "", "")], indent="  "))
    present = {plugin.distribution for plugin in drivers.installed(group)}
    absent = {name: hint for name, hint in _hints(group, present).items() if name not in answers}
    if absent:
        print(text_table([(name, "-", f"not installed. {hint}") for name, hint in sorted(absent.items())], indent="  "))
    print()


def _hints(group: str, present: set[str]) -> dict[str, str]:
    """Known plugins that could be installed here; planned ones are left out."""
    hints = {name: known.install_hint(distribution, present) for name, distribution in known.KNOWN[group].items()}
    return {name: hint for name, hint in hints.items() if not hint.startswith(known.PLANNED)}


def _row(name: str, answer: dict[str, Any]) -> tuple[str, str, str]:
    detail = answer["detail"] + (f"  {answer['fix']}" if answer["fix"] else "")
    return name, "works" if answer["works"] else "no", detail


def _print_environments() -> None:
    """Engines in interpreters made by `tpb env create`; nothing where this is such an interpreter itself."""
    if importlib.util.find_spec("platformdirs") is None:
        return
    from tpb_core.config.interpreter import environments, environments_folder, python_of

    rows = []
    for environment in environments():
        python = str(python_of(environments_folder() / environment))
        for name, answer in probe("tpb.engines", "*", python).items():
            engine = "" if name == "*" else name
            rows.append((f"engine={engine} engine.python={environment}", *_row(name, answer)[1:]))
    if rows:
        print("Engines in environments of their own")
        print(text_table(rows, indent="  "))
        print()


def _print_findings() -> None:
    """What `tpb characterise` and `tpb calibrate` found out about sensors of this machine, and where it is kept."""
    if importlib.util.find_spec("platformdirs") is None:
        return
    from tpb_core.run.device_store import DeviceStore

    store = DeviceStore()
    rows = []
    for finding in store.all():
        values = ", ".join(f"{key} {value:g}" for key, value in finding.values.items())
        where = f"{finding.meter}: {finding.tail} of {finding.sensor}"
        rows.append((where, f"{finding.source} {finding.utc[:10]}", f"{values}; driver {finding.driver or 'not stated'}; {finding.note}"))
    if rows:
        print(f"Sensors known from {store.folder} (used under the same driver version)")
        print(text_table(rows, indent="  "))
        print()


def _print_listeners_checks() -> None:
    if not drivers.installed("tpb.hooks") or importlib.util.find_spec("pluggy") is None:
        return  # an engine's environment has no listeners' machinery
    from tpb_core.hooks import Hooks

    checks = Hooks.of_installed_plugins().doctor_checks()
    if checks:
        print("Further checks")
        rows = [(check.name, "works" if check.works else "no", f"{check.detail}  {check.fix}".strip()) for check in checks]
        print(text_table(rows, indent="  "))
        print()
