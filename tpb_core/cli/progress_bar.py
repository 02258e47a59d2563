"""The session's progress on the terminal: one bar for the present window, notes above it.

On stderr, so that standard output holds results alone; plain lines where stderr is no terminal.
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_WINDOW_TEXTS = {
    "meters": "looking for meters",
    "gate": "waiting until devices are idle, cool and steady",
    "load": "loading the model",
    "compile": "compiling",
    "warmup": "warming up",
    "idle_bare": "idle, without the engine",
    "idle_loaded_before": "idle, model loaded",
    "measure": "measuring",
    "drain": "waiting for the last answers",
    "idle_loaded_after": "idle, model loaded",
    "attribution": "computing energies",
}


class ProgressBar:
    """Context manager; implements `tpb_core.run.progress.Progress`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def window(self, name: str, expected_s: float | None = None) -> None:
        """A window begins."""
        text = _WINDOW_TEXTS.get(name, name)
        expected = f" ({expected_s:.3g} s)" if expected_s else ""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(text + expected, total=None, counts="")
        if not self._console.is_terminal:
            self._console.print(f"{text}{expected}", highlight=False, markup=False)

    def requests(self, done: int, total: int) -> None:
        """Requests finished in the present window."""
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total, counts=f"{done}/{total} requests")

    def note(self, text: str) -> None:
        """One line above the bar."""
        self._console.print(text, highlight=False, markup=False)
