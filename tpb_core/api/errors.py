"""Errors that tpb shows to people: one sentence what is wrong, one what to type instead, and the near misses.

Every error carries the exit code of the command that it ends. Anything that is not a `TpbError` is a fault of ours or of a plugin
and is shown with its distribution and phase; the traceback is one flag (`--traceback`) away.
"""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core.api.codes import Reason

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_REFUSED = 3
EXIT_INTERRUPTED = 130


class TpbError(Exception):
    """Base of all errors shown without a traceback. `what` is wrong, `fix` is what to type, `notes` are further lines."""

    exit_code = EXIT_FAILED

    def __init__(self, what: str, fix: str | None = None, notes: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.notes = tuple(notes)

    def lines(self) -> list[str]:
        """The message as it is printed, one line an item."""
        return [self.what, *([self.fix] if self.fix else []), *self.notes]


class BadInput(TpbError):
    """The user typed or supplied something that cannot be used. Exit code 2."""

    exit_code = EXIT_BAD_INPUT


class BadBundle(BadInput):
    """A bundle that breaks the format. Names the file and, where they apply, the column and the row (counted from 0)."""

    def __init__(self, what: str, *, file: str, column: str | None = None, row: int | None = None, fix: str | None = None) -> None:
        place = ", ".join([file, *([f"column {column!r}"] if column else []), *([f"row {row}"] if row is not None else [])])
        super().__init__(f"{place}: {what}", fix)
        self.file, self.column, self.row = file, column, row


class Refused(TpbError):
    """The set-up is understood but a precondition does not hold (a required meter, a permission, an invalid pair). Exit code 3."""

    exit_code = EXIT_REFUSED


class MeasurementFailed(TpbError):
    """A run started and did not complete. What was measured is on disk. Exit code 1."""

    exit_code = EXIT_FAILED


class Interrupted(TpbError):
    """Ctrl-C or SIGTERM. What was measured is on disk. Exit code 130."""

    exit_code = EXIT_INTERRUPTED


class Unavailable(TpbError):
    """A meter or an engine cannot work on this machine. Raised by `Meter.discover` and `Engine.check`; never stored as a zero.

    `reason` is one of the closed reason codes; it is what stands beside the NULL in the results.
    """

    exit_code = EXIT_REFUSED

    def __init__(self, what: str, *, reason: Reason, fix: str | None = None) -> None:
        super().__init__(what, fix)
        self.reason = reason


class PreconditionFailed(Refused):
    """An attributor cannot be applied to this bundle. `precondition` is the name by which it is refused."""

    def __init__(self, precondition: str, what: str, fix: str | None = None) -> None:
        super().__init__(f"{precondition}: {what}", fix)
        self.precondition = precondition


class PluginFault(TpbError):
    """A plugin raised something that it should not have. Names the distribution and the phase; exit code 1."""

    def __init__(self, distribution: str, phase: str, cause: BaseException) -> None:
        super().__init__(
            f"{distribution} failed while {phase}: {type(cause).__name__}: {cause}",
            "Run again with --traceback to see where, and report it to the authors of that distribution.",
        )
        self.distribution, self.phase = distribution, phase
        self.__cause__ = cause
