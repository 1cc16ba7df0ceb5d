"""What a person sees while a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from connectivity_check.model import Outcome, Row
from connectivity_check.render import texts as words
from connectivity_check.render.texts import Lang

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class LiveProgress:
    """A bar with counts on a terminal, nothing at all elsewhere. It disappears when done.

    Use as `progress.on_row` for each finished row, and `done()` at the end, also after an error: until then a
    thread repaints the bar and the cursor is hidden. Rows beyond the total do no harm.
    """

    def __init__(self, total: int, stream: TextIO, lang: Lang = Lang.EN) -> None:
        self._lang = lang
        self._counts = dict.fromkeys(Outcome, 0)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if stream.isatty() and total > 0:
            self._start(total, stream)

    @property
    def shown(self) -> bool:
        """Whether there is a bar; without one nobody need tell it of rows."""
        return self._bar is not None

    def on_row(self, row: Row) -> None:
        """Count one finished row."""
        self._counts[row.outcome] += 1
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=1, description=self._description())

    def done(self) -> None:
        """Take the bar away and show the cursor again; twice does nothing."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    def _start(self, total: int, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        # What is printed to standard output meanwhile is a result: it is not taken over by the bar.
        self._bar = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(file=stream, markup=False, highlight=False, emoji=False),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task(self._description(), total=total)
        self._bar.start()

    def _description(self) -> str:
        shown = (each for each in Outcome if self._counts[each] and each is not Outcome.REACHABLE)
        return ", ".join(f"{self._counts[each]} {words.OUTCOMES[each].said(self._lang)}" for each in shown)
