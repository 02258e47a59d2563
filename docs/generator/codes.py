"""The closed lists: reasons, events, exit codes, words that columns may hold; and the table of validity checks."""

from __future__ import annotations

from generator.markdown import code, table
from tpb_core.api import channel, errors, ledger, requests
from tpb_core.api.codes import EventCode, Reason
from tpb_core.api.levels import DEMANDS
from tpb_core.energy.validity import CHECKS

_EXITS = (
    (errors.EXIT_DONE, "done, also where the run is not valid: it was measured"),
    (errors.EXIT_FAILED, "a measurement failed or is partial, or a fault of tpb or of a plugin; what was measured is on disk"),
    (errors.EXIT_BAD_INPUT, "bad input: an unknown name or option, a file that cannot be used, a malformed bundle"),
    (errors.EXIT_REFUSED, "refused by a precondition: a required meter, a permission, an invalid set-up"),
    (errors.EXIT_INTERRUPTED, "interrupted (Ctrl-C, SIGTERM); what was measured is on disk"),
)

_WORDS = (
    ("phase", ledger.PHASES),
    ("basis", ledger.BASES),
    ("evidence, best first", channel.EVIDENCE),
    ("scope", channel.SCOPES),
    ("kind of a channel", channel.KINDS),
    ("role of a channel", channel.ROLES),
    ("status of a request", requests.REQUEST_STATUSES),
    ("role of a request", requests.ROLES_OF_REQUESTS),
)


def page() -> str:
    """Reasons, events, exit codes, words."""
    return "\n".join(
        [
            "# Codes",
            "",
            "Closed lists; part of the bundle format. A bundle made by another program may use codes of its own that start with `x_`.",
            "",
            "## Reason codes",
            "",
            "Why a figure is NULL, or why a meter does not work here.",
            "",
            *table(("code", "meaning"), [(code(reason.value), reason.meaning) for reason in Reason]),
            "## Event codes",
            "",
            "What happened during a run, in `events.parquet` and the table `events`.",
            "",
            *table(("code", "meaning"), [(code(event.value), event.meaning) for event in EventCode]),
            "## Exit codes",
            "",
            *table(("exit code", "meaning"), [(code(str(number)), meaning) for number, meaning in _EXITS]),
            "## Words that columns may hold",
            "",
            *table(("column", "words"), [(name, ", ".join(code(word) for word in words)) for name, words in _WORDS]),
        ]
    )


def validity_page() -> str:
    """The checks of every run."""
    rows = [
        (
            code(check.name),
            check.asks,
            f"{'at least' if check.at_least else 'at most'} {check.limit:g}",
            check.unit,
            "gate" if check.gate else "shown",
        )
        for check in CHECKS.values()
    ]
    return "\n".join(
        [
            "# Validity checks",
            "",
            "Each check is a row of `validity.parquet` with its value and limit. A run is `valid` when every gate passed; a gate without an"
            " answer fails. A check is a gate only where the run has what it takes to answer it: no temperature sensor, no gate."
            " A run that is not valid still ends with exit code 0: it was measured, it is shown with what failed, and it is left out of"
            " means over repeats.",
            "",
            *table(("check", "value", "limit", "unit", ""), rows),
            "`host_not_busy` is a gate because what strangers' processes draw is in the readings of package, DRAM and node, no"
            " attributor can take it out, and they take time from the engine. It compares two channels of the meter `estimate`: the"
            " CPU time of the node, and that of the engine's processes; our own are taken off as the manifest's `overhead` states"
            " them. Where the meter announced them and they do not enclose the window, the gate has no answer and fails. It is no"
            " gate where they were not recorded (`no_sensor`), where the engine is a server that was there before (`not_ours`), and"
            " for `tpb measure` and `tpb attach`, which only watch.",
            "",
            "## Levels of evidence",
            "",
            "Of a whole study: the repeats of one point. `estimate` is what reaches no other. Each level needs every gate passed, what the"
            " level before it needs, and repeats whose mean is known within the interval too; `host` needs CPU and DRAM or the node besides"
            " the devices and repeats in random or ABBA order, `wall` a calibrated meter of the node on the AC side. The checks `level_...`"
            " of a run say what it lacks; the view `evidence_levels` has the level of each point.",
            "",
            *table(("level", "window at least", "repeats", "idle windows", "95 % interval within", "total uncertainty within"), _levels()),
        ]
    )


def _levels() -> list[tuple[str, ...]]:
    rows = []
    for name, needs in DEMANDS.items():
        length = f"{needs.seconds:g} s" + (f" and {needs.refreshes:g} refreshes" if needs.refreshes else "")
        total = "" if needs.u_total is None else "stated" if needs.u_total >= 1 else f"{needs.u_total:.0%}"
        interval = f"{needs.interval:.0%}"
        rows.append((code(name), length, str(needs.repeats), ", ".join(code(w) for w in needs.idle_windows), interval, total))
    return rows
