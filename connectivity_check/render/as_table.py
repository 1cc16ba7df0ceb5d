"""A report for the terminal: all rows, then who blocks what, the verdict last, where the eye is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from connectivity_check.model import Finding, Outcome, Report, Row
from connectivity_check.render import overview
from connectivity_check.render import texts as words
from connectivity_check.render.columns import source_of
from connectivity_check.render.overview import Verdict
from connectivity_check.render.rules import BlockerGroup, by_blocker, rules_of, without_rule
from connectivity_check.render.safe_text import ascii_text, plain
from connectivity_check.render.screen import PLAIN, Screen
from connectivity_check.render.texts import Lang

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_COLOURS = {
    Outcome.REACHABLE: "green",
    Outcome.BLOCKED: "bold red",
    Outcome.DEGRADED: "yellow",
    Outcome.NOT_PROBEABLE: "dim",
    Outcome.UNEXPLAINED: "magenta",
}
_VERDICT_COLOURS = {
    Verdict.OPEN: "bold green",
    Verdict.DEGRADED: "bold yellow",
    Verdict.BLOCKED: "bold red",
    Verdict.UNCLEAR: "bold magenta",
}
_NARROW = 72
"""Below this a table has no room for causes beside names: they go to the groups only."""
_WIDE = 100
"""From here on causes have their titles in the table, not only their codes."""
_VERDICT_WIDTH = 13
_BESIDE_NAMES = 36
"""What number, verdict, time and the gaps need."""
_NARROWEST_NAME = 10


def render_table(report: Report, screen: Screen = PLAIN, lang: Lang = Lang.EN) -> str:
    """Give the text. Nothing in it but our own colours is an escape sequence.

    A screen that knows ASCII only gets English: there is no Japanese in ASCII.
    """
    return _Painter(report, screen, Lang.EN if screen.ascii_only else lang).text()


class _Painter:
    """One drawing of one report."""

    def __init__(self, report: Report, screen: Screen, lang: Lang) -> None:
        from rich.console import Console

        self._report, self._screen, self._lang = report, screen, lang
        self._out = io.StringIO()
        self._console: Console = Console(
            file=self._out,
            width=screen.width,
            force_terminal=screen.colour,
            color_system="standard" if screen.colour else None,
            no_color=not screen.colour,
            legacy_windows=False,
            markup=False,
            highlight=False,
            emoji=False,
            # The environment (COLUMNS, FORCE_COLOR, TERM) is the caller's business.
            _environ={},
        )

    def text(self) -> str:
        """Draw everything."""
        if self._report.rows:
            self._console.print(self._rows())
        for group in by_blocker(rules_of(self._report)):
            self._group(group)
        self._without_rule()
        self._run_findings()
        self._changes()
        self._verdict()
        # rich fills lines with blanks to the width, which would wrap when the window shrinks.
        return "".join(f"{line.rstrip()}\n" for line in self._out.getvalue().splitlines())

    def _clean(self, text: str) -> str:
        return ascii_text(text) if self._screen.ascii_only else plain(text)

    def _line(self, text: str, style: str = "", indent: int = 0) -> None:
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text(self._clean(text), style=style, overflow="fold"), (0, 0, 0, indent)))

    def _table(self) -> Table:
        from rich import box
        from rich.table import Table

        drawn = box.ASCII_DOUBLE_HEAD if self._screen.ascii_only else box.SIMPLE_HEAD
        gap = (0, 1) if self._screen.ascii_only else (0, 1, 0, 0)  # beside a bar, or between columns
        return Table(box=drawn, expand=False, pad_edge=False, show_edge=False, padding=gap)

    def _rows(self) -> Table:
        table = self._table()
        wide = self._screen.width >= _NARROW
        table.add_column(words.NUMBER.said(self._lang), justify="right", no_wrap=True)
        table.add_column(words.VERDICT.said(self._lang), overflow="fold", max_width=_VERDICT_WIDTH)
        # Names are what one searches for and copies: they are the last to be folded.
        room = self._room_for_names() if wide else None
        table.add_column(words.ENDPOINT.said(self._lang), overflow="fold", min_width=room)
        if wide:
            table.add_column(words.CAUSE.said(self._lang), overflow="fold")
            table.add_column("ms", justify="right", no_wrap=True)
        for row in self._report.rows:
            table.add_row(*self._row(row, wide))
        return table

    def _row(self, row: Row, wide: bool) -> list[str | Text]:
        from rich.text import Text

        name = overview.outcome(row).said(self._lang)
        endpoint = overview.endpoint(row)
        if not row.target.required:
            endpoint += f" ({words.OPTIONAL.said(self._lang)})"
        cells: list[str | Text] = [
            str(row.target.n),
            Text(self._clean(name), style=_COLOURS[row.outcome]),
            Text(self._clean(endpoint)),
        ]
        if wide:
            cells += [Text(self._shown_cause(row)), f"{row.took_s * 1000:.0f}"]
        return cells

    def _room_for_names(self) -> int:
        """Give the width of the widest name, or what the other columns leave when that is less."""
        from rich.cells import cell_len

        rows = self._report.rows
        longest = max(cell_len(self._clean(overview.endpoint(row))) for row in rows)
        causes = (word for row in rows for word in self._shown_cause(row).split())
        left = self._screen.width - _BESIDE_NAMES - max(map(cell_len, causes), default=0)
        return max(min(longest, left), _NARROWEST_NAME)

    def _shown_cause(self, row: Row) -> str:
        full = self._screen.width >= _WIDE
        return self._clean(self._cause(row.finding) if full else row.failure or "")

    def _cause(self, finding: Finding | None) -> str:
        if finding is None:
            return ""
        return f"{overview.cause(finding).said(self._lang)} ({finding.failure})"

    def _group(self, group: BlockerGroup) -> None:
        self._console.print()
        name = overview.blocker(group.blocked_by).said(self._lang)
        count = words.GROUP_CAPTION.fill(rules=len(group.rules), rows=group.rows).said(self._lang)
        self._line(f"{name}: {count}", "bold")
        said = set()
        for rule in group.rules:
            source = rule.source or source_of(self._report.recording)
            self._line(f"{source} -> {rule.place}", indent=2)
            # A hint that is the same for many names stands once.
            hint = overview.todo(rule.finding).said(self._lang)
            if hint and hint not in said:
                said.add(hint)
                self._line(f"{self._cause(rule.finding)}. {hint}", indent=4)

    def _without_rule(self) -> None:
        rows = without_rule(self._report)
        if rows:
            self._console.print()
            self._line(words.NO_RULE_HELPS.said(self._lang), "bold")
        for row, found in rows:
            self._line(overview.endpoint(row), indent=2)
            self._line(f"{self._cause(found)}. {overview.todo(found).said(self._lang)}", indent=4)

    def _run_findings(self) -> None:
        if self._report.findings:
            self._console.print()
            self._line(words.RUN_FINDINGS.said(self._lang), "bold")
        for each in self._report.findings:
            self._line(f"{self._cause(each)}: {'; '.join(each.reasons)}", indent=2)
            self._line(overview.todo(each).said(self._lang), indent=4)

    def _changes(self) -> None:
        if self._report.changes is None:
            return
        self._console.print()
        self._line(words.CHANGES.said(self._lang), "bold")
        if not self._report.changes:
            self._line(words.NO_CHANGES.said(self._lang), indent=2)
        for each in self._report.changes:
            before, after = (side.said(self._lang) for side in overview.sides(each))
            self._line(f"{overview.changed_endpoint(each)}: {before} -> {after}", indent=2)

    def _verdict(self) -> None:
        self._console.print()
        partial = overview.partial_sentence(self._report, self._lang)
        if partial:
            self._line(partial, "bold yellow")
        counts = ", ".join(
            f"{words.OUTCOMES[each].said(self._lang)} {count}"
            for each in Outcome
            if (count := self._report.count(each))
        )
        if counts:
            self._line(counts)
        found = overview.verdict(self._report)
        self._line(overview.headline(self._report).said(self._lang), _VERDICT_COLOURS[found])
