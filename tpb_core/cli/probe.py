"""Ask plugins whether they work here, in a process of its own: a vendor's library may hang, print or crash.

    python -m tpb_core.cli.probe GROUP NAME     prints one JSON object; NAME `*` is every plugin of the group

Runs in engine environments too: standard library, stevedore and the plugin.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tpb_core import drivers
from tpb_core.api.errors import TpbError, Unavailable

_TIMEOUT_S = 90.0


def probe(group: str, name: str, python: str | None = None) -> dict[str, dict[str, Any]]:
    """Plugin name -> `{works, detail, fix, energy}`, from a child process of `python` (default: this interpreter)."""
    command = [python or sys.executable, "-P", "-m", "tpb_core.cli.probe", group, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL)
        answer: dict[str, dict[str, Any]] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {name: _does_not_work(f"no answer within {_TIMEOUT_S:.0f} s")}
    except (OSError, ValueError):
        how = f"killed by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        last_line = done.stderr.strip().rsplit("\n", 1)[-1]
        return {name: _does_not_work(f"the check crashed ({how}): {last_line}")}
    return answer


def main(argv: list[str]) -> int:
    """Child process."""
    group, wanted = argv
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    names = drivers.names(group) if wanted == "*" else [wanted]
    answer = {name: _ask(group, name) for name in names}
    with os.fdopen(answer_fd, "w") as stream:
        json.dump(answer, stream)
    return 0


def _ask(group: str, name: str) -> dict[str, Any]:
    try:
        loaded = drivers.load(group, name)
        return _ask_engine(loaded) if group == "tpb.engines" else _ask_meter(loaded, name)
    except Unavailable as error:
        return _does_not_work(f"{error.reason}: {error.what}", error.fix)
    except TpbError as error:
        return _does_not_work(error.what, error.fix)
    except Exception as error:
        distribution = drivers.find(group, name).distribution
        return _does_not_work(f"{distribution} failed: {type(error).__name__}: {error}", "Report it to the authors of that distribution.")


def _ask_engine(engine_class: Any) -> dict[str, Any]:
    return {"works": True, "detail": f"version {engine_class.check()}", "fix": None, "energy": False}


def _ask_meter(meter_class: Any, name: str) -> dict[str, Any]:
    from tpb_core.api.channel import LEDGER_KINDS
    from tpb_core.api.meter import MeterContext
    from tpb_core.run.clock import RealClock

    if meter_class.virtual_time:
        return {"works": True, "detail": "simulated; for simulated engines", "fix": None, "energy": False}
    context = MeterContext(clock=RealClock(), run_id="doctor", report_event=lambda *_: None, environ=dict(os.environ))
    meter = meter_class(meter_class.config_class(name=name), context)
    try:
        channels = meter.discover()
    finally:
        meter.close()
    scopes = sorted({channel.scope for channel in channels})
    energy = any(channel.kind in LEDGER_KINDS and channel.evidence != "estimated" for channel in channels)
    evidence = ", ".join(sorted({channel.evidence for channel in channels}))
    plural = "" if len(channels) == 1 else "s"
    return {"works": True, "detail": f"{len(channels)} channel{plural} ({', '.join(scopes)}), {evidence}", "fix": None, "energy": energy}


def _does_not_work(detail: str, fix: str | None = None) -> dict[str, Any]:
    return {"works": False, "detail": detail, "fix": fix, "energy": False}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
