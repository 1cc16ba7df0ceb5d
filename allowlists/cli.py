# PYTHON_ARGCOMPLETE_OK
"""`isolator-lists`: show, match, diff, lint and export endpoint lists.

Exit 0: done. 1: some name is not covered (match), a finding is an error (lint). 2: usage or bad input.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from allowlists import files
from allowlists.export import Feed, render_feed
from allowlists.model import OPERATING_SYSTEMS, ListError, ParseError, Profile

Outcome = tuple[str, int]
"""What goes to standard output, and the exit code."""

_EXAMPLES = """examples:
  isolator-lists show --list streamlined --profile isolation
  isolator-lists show --list standard --geo US,EU --os linux --format csv
  isolator-lists match edr-eus.us.endpoint.security.microsoft.com:443
  isolator-lists diff streamlined@2024-12 streamlined@2026-09
  isolator-lists lint my-list.yaml
  isolator-lists export --format edl-domains --list streamlined -o edl.txt

A list is standard, streamlined, collaboration, a dated edition such as streamlined@2025-04, or a file.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line; the long usage is what --help is for."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code; only a usage error and --help leave by SystemExit."""
    parser = _build_parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    try:
        text, code = options.run(options)
    except ParseError as error:
        print(f"isolator-lists: {error}", file=sys.stderr)
        return 2
    _write(text)
    return int(code)


def _write(text: str) -> None:
    """Print; a reader that went away (`| head`) is no failure and changes no exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An old terminal's encoding must not end the command.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end; give it somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _build_parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = _Parser(
        prog="isolator-lists", description="Show, match, compare, check and export endpoint lists.",
        epilog=_EXAMPLES,
        formatter_class=form,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="{show,match,diff,lint,export}")

    def add(name: str, run: Callable[[argparse.Namespace], Outcome], what: str, example: str) -> _Parser:
        command: _Parser = commands.add_parser(
            name, help=what, description=what[0].upper() + what[1:] + ".", epilog=f"example:\n  {example}",
            formatter_class=form,
        )  # fmt: skip
        command.set_defaults(run=run)
        return command

    show = add("show", _show, "list the rows", "isolator-lists show --list streamlined --geo US --os linux")
    _add_lists(show, "list to show (default: standard); may be given more than once")
    show.add_argument("--geo", metavar="CODES", help="only WW rows and these geographies, such as US,EU")
    show.add_argument("--os", choices=OPERATING_SYSTEMS, help="only rows for this operating system")
    show.add_argument("--required", action="store_true", help="leave out rows that a source calls optional")
    _add_profile(show)
    show.add_argument("--format", choices=("table", "json", "csv", "yaml"), default="table")
    show.add_argument(
        "--json", action="store_const", const="json", dest="format", help="same as --format json"
    )

    match = add("match", _match, "say which rows cover a name", "isolator-lists match wdcp.microsoft.com:443")
    match.add_argument("names", nargs="+", metavar="NAME[:PORT]", help="host name or address")
    _add_lists(match, "list to search (default: standard and streamlined); may be given more than once")
    _add_profile(match)
    match.add_argument("--json", action="store_true", help="print JSON")

    diff = add(
        "diff", _diff, "compare two lists", "isolator-lists diff streamlined@2024-12 streamlined@2026-09"
    )
    for name in ("a", "b"):
        _complete_lists(diff.add_argument(name, metavar=name.upper(), help="list, dated edition or file"))
    diff.add_argument("--json", action="store_true", help="print JSON")

    lint = add("lint", _lint, "check a list for rows that open too much", "isolator-lists lint my-list.yaml")
    _complete_lists(lint.add_argument("file", metavar="FILE", help="file, or name of a shipped list"))
    lint.add_argument("--json", action="store_true", help="print JSON")

    export = add(
        "export", _export, "write rows as an external dynamic list for firewalls",
        "isolator-lists export --format edl-domains --list streamlined -o edl.txt",
    )  # fmt: skip
    export.add_argument("--format", choices=[str(each) for each in Feed], required=True)
    _add_lists(export, "list to export (default: standard); may be given more than once")
    export.add_argument("--geo", metavar="CODES", help="only WW rows and these geographies, such as US,EU")
    export.add_argument("--os", choices=OPERATING_SYSTEMS, help="only rows for this operating system")
    _add_profile(export)
    export.add_argument("-o", "--output", metavar="FILE", help="file to write whole (default: print)")
    return parser


def _add_lists(command: argparse.ArgumentParser, what: str) -> None:
    _complete_lists(command.add_argument("--list", action="append", dest="lists", metavar="L", help=what))


def _add_profile(command: argparse.ArgumentParser) -> None:
    what = "isolation: only rows that stay open on an isolated host (default: all)"
    command.add_argument("--profile", choices=[str(p) for p in Profile], default=str(Profile.ALL), help=what)


def _complete_lists(action: argparse.Action) -> None:
    action.completer = lambda **_: files.available()  # type: ignore[attr-defined]  # argcomplete reads it


def _show(options: argparse.Namespace) -> Outcome:
    from allowlists import merge, render

    lists = [files.load(name) for name in options.lists or ["standard"]]
    geo = [] if options.geo is None else options.geo.split(",")
    entries = merge.rows(
        lists, geo=geo, os=options.os, profile=options.profile, required_only=options.required
    )
    networks = merge.select_networks(lists, geo=geo, profile=options.profile)
    if options.format == "json":
        value = {
            "lists": [render.list_value(each) for each in lists],
            "rows": [render.entry_value(entry) for entry in entries],
            "networks": [render.network_value(prefix) for prefix in networks],
        }
        return render.render_json(value), 0
    if options.format == "csv":
        return render.render_csv(entries), 0
    if options.format == "yaml":
        if len(lists) > 1:
            raise ListError("a YAML file holds one list; give --list once")
        return render.render_yaml(lists[0], entries, networks), 0
    text = render.render_table(
        render.entries_table(entries, name_list=len(lists) > 1), terminal=sys.stdout.isatty()
    )
    heads = ", ".join(f"{each.list_id} {each.version}" for each in lists)
    more = f", {len(networks)} address prefixes (in --json)" if networks else ""
    return f"{text}{len(entries)} rows of {heads}{more}\n", 0


def _match(options: argparse.Namespace) -> Outcome:
    from allowlists import render
    from allowlists.lookup import look_up, parse_destination

    lists = [files.load(name) for name in options.lists or ["standard", "streamlined"]]
    destinations = [parse_destination(text) for text in options.names]
    answers = look_up(lists, destinations, Profile(options.profile))
    code = 0 if all(answer.matched for answer in answers) else 1
    if options.json:
        return render.render_json({"results": [render.answer_value(answer) for answer in answers]}), code
    searched = ", ".join(each.list_id for each in lists)
    return "".join(render.answer_text(answer, searched) for answer in answers), code


def _diff(options: argparse.Namespace) -> Outcome:
    from allowlists import edition, render

    a, b = files.load(options.a), files.load(options.b)
    difference = edition.diff(a, b)
    if options.json:
        return render.render_json(render.difference_value(a, b, difference)), 0
    table = render.difference_table(difference)
    head = f"{a.list_id} {a.version} -> {b.list_id} {b.version}"
    if not table[1]:
        return f"{head}: no difference\n", 0
    return f"{head}\n{render.render_table(table, terminal=sys.stdout.isatty())}", 0


def _lint(options: argparse.Namespace) -> Outcome:
    from datetime import date

    from allowlists import render
    from allowlists.lint import lint
    from allowlists.model import Severity

    each = files.load(options.file)
    findings = lint(each, today=date.today())
    code = 1 if any(finding.severity is Severity.ERROR for finding in findings) else 0
    if options.json:
        value = {"list": render.list_value(each), "findings": [render.finding_value(x) for x in findings]}
        return render.render_json(value), code
    if not findings:
        return f"{each.file}: nothing found\n", code
    return "".join(render.finding_text(each, finding) for finding in findings), code


def _export(options: argparse.Namespace) -> Outcome:
    from allowlists import merge

    lists = [files.load(name) for name in options.lists or ["standard"]]
    geo = [] if options.geo is None else options.geo.split(",")
    entries = merge.rows(lists, geo=geo, os=options.os, profile=options.profile, required_only=False)
    networks = merge.select_networks(lists, geo=geo, profile=options.profile)
    head = ", ".join(f"{each.list_id} {each.version}" for each in lists)
    text = render_feed(Feed(options.format), entries, networks, head=head)
    if options.output is None:
        return text, 0
    files.write_whole(options.output, text)
    return "", 0
