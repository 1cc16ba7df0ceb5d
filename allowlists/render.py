"""Rows, matches, differences and findings as text: aligned or ruled tables, JSON, CSV, YAML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from allowlists.edition import Difference
from allowlists.lookup import Answer
from allowlists.model import EndpointList, Entry, Finding, StaticPrefix

Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""Headings, and rows of cells."""


def render_json(value: object) -> str:
    """Give a value as indented JSON."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def render_table(table: Table, *, terminal: bool) -> str:
    """Give a table: ruled and fitted to the window on a terminal, aligned with blanks elsewhere."""
    return _ruled(table) if terminal else _aligned(table)


def _aligned(table: Table) -> str:
    headings, rows = table
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    lines = ("  ".join(x.ljust(w) for x, w in zip(line, widths, strict=True)) for line in (headings, *rows))
    return "".join(line.rstrip() + "\n" for line in lines)


def _ruled(table: Table) -> str:
    import rich.box
    import rich.console
    import rich.table
    import rich.text

    headings, rows = table
    ruled = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        ruled.add_column(heading, overflow="fold")
    for row in rows:
        ruled.add_row(*(rich.text.Text(cell) for cell in row))  # Text: a cell's brackets are no markup
    console = rich.console.Console()
    with console.capture() as capture:
        console.print(ruled)
    return capture.get()


def render_csv(entries: Iterable[Entry]) -> str:
    """Give one line per row, every field a column; several values in one cell are separated by blanks.

    A cell that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    import csv
    import io

    text = io.StringIO()
    records = [entry_value(entry) for entry in entries]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    writer.writerows([_csv_cell(record[name]) for name in _CSV_COLUMNS] for record in records)
    return text.getvalue()


def _csv_cell(value: Any) -> str:
    if isinstance(value, list):
        text = " ".join(item["host"] if isinstance(item, dict) else str(item) for item in value)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = "" if value is None else str(value)
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t")) else text


def render_yaml(each: EndpointList, entries: Iterable[Entry], networks: Iterable[StaticPrefix]) -> str:
    """Give a list file with these rows, which `parse_list` reads back to the same entries."""
    import yaml

    header: dict[str, object] = {"list_id": each.list_id, "name": each.name, "cloud": each.cloud}
    if each.as_of:
        header["as_of"] = each.as_of
    header["sources"] = {
        s.id: {"what": s.what, "where": s.where, "commit": s.commit, "date": s.date} for s in each.sources
    }
    rows = []
    for entry in entries:
        value = entry_value(entry)
        rows.append({name: value[name] for name in _YAML_KEYS})
    content: dict[str, object] = {"header": header, "entries": rows}
    prefixes = [network_value(prefix) for prefix in networks]
    if prefixes:
        content["networks"] = [{"prefixes": [value.pop("network")], **value} for value in prefixes]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def entry_value(entry: Entry) -> dict[str, Any]:
    """Give a row as JSON has it."""
    return {
        "id": entry.id,
        "list": entry.list_id,
        "n": entry.n,
        "pattern": entry.pattern,
        "host": entry.host,
        "path": entry.path,
        "match": str(entry.match),
        "port": entry.port,
        "extra_ports": list(entry.extra_ports),
        "protocol": str(entry.protocol),
        "scheme": entry.scheme,
        "service": entry.service,
        "category": entry.category,
        "purpose": entry.purpose,
        "geography": entry.geography,
        "os": list(entry.os),
        "required": entry.required,
        "isolation": entry.isolation,
        "isolation_reason": entry.isolation_reason,
        "apex": entry.apex,
        "known_hosts": [
            {"host": fact.host, "geography": fact.geography, "source": list(fact.source)}
            for fact in entry.known_host_facts
        ],
        "source": list(entry.source),
        "notes": entry.notes,
        "certainty": entry.certainty,
        "duplicate_of": entry.duplicate_of,
    }


_CSV_COLUMNS = tuple(entry_value(Entry(n=0, pattern="", host="")))
_YAML_KEYS = tuple(name for name in _CSV_COLUMNS if name not in ("id", "list"))


def network_value(prefix: StaticPrefix) -> dict[str, Any]:
    """Give a static prefix as JSON has it."""
    return {
        "network": str(prefix.network),
        "name": prefix.name,
        "geography": prefix.geography,
        "port": prefix.port,
        "protocol": str(prefix.protocol),
        "isolation": prefix.isolation,
        "isolation_reason": prefix.isolation_reason,
        "as_of": prefix.as_of,
        "source": list(prefix.source),
    }


def list_value(each: EndpointList) -> dict[str, Any]:
    """Give the head of a list as JSON has it."""
    return {"id": each.list_id, "name": each.name, "version": each.version, "entries": each.count}


def difference_value(a: EndpointList, b: EndpointList, difference: Difference) -> dict[str, Any]:
    """Give a comparison as JSON has it."""
    return {
        "a": list_value(a),
        "b": list_value(b),
        "added": [entry_value(entry) for entry in difference.added],
        "removed": [entry_value(entry) for entry in difference.removed],
        "changed": [
            {
                "before": entry_value(change.before),
                "after": entry_value(change.after),
                "fields": list(change.fields),
            }
            for change in difference.changed
        ],
        "added_networks": [network_value(prefix) for prefix in difference.added_networks],
        "removed_networks": [network_value(prefix) for prefix in difference.removed_networks],
    }


def finding_value(finding: Finding) -> dict[str, Any]:
    """Give a finding as JSON has it."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "n": finding.n,
        "line": finding.line,
        "sentence": finding.sentence,
    }


def ports_text(entry: Entry) -> str:
    """Give ports and protocol as people write them: "80,443/tcp"."""
    return f"{','.join(map(str, entry.ports))}/{entry.protocol}"


def required_text(required: bool | None) -> str:
    """Give yes, no, or "?" when no source says."""
    return "?" if required is None else "yes" if required else "no"


def isolation_text(isolation: bool) -> str:
    """Say in one word what an isolated host does with a row."""
    return "open" if isolation else "shut"


def entries_table(entries: Iterable[Entry], *, name_list: bool) -> Table:
    """Give rows as a table; `name_list` says of which list each is."""
    headings = ("row", "pattern", "port", "geo", "os", "required", "isolation", "purpose")
    return headings, [
        (
            entry.id if name_list else str(entry.n),
            entry.pattern,
            ports_text(entry),
            entry.geography,
            ",".join(entry.os) or "all",
            required_text(entry.required),
            isolation_text(entry.isolation),
            entry.purpose or entry.category,
        )
        for entry in entries
    ]


def difference_table(difference: Difference) -> Table:
    """Give a comparison as a table: what came (+), went (-) and changed (~)."""
    rows: list[tuple[str, str, str, str]] = []
    for sign, entries in (("+", difference.added), ("-", difference.removed)):
        rows.extend((sign, x.pattern, ports_text(x), x.purpose or x.category) for x in entries)
    for change in difference.changed:
        before, after = change.before, change.after
        facts = (f"{name}: {_fact(before, name)} -> {_fact(after, name)}" for name in change.fields)
        rows.append(("~", after.pattern, ports_text(after), "; ".join(facts)))
    for sign, prefixes in (("+", difference.added_networks), ("-", difference.removed_networks)):
        rows.extend((sign, str(x.network), f"{x.port}/{x.protocol}", x.name) for x in prefixes)
    return ("", "pattern", "port", "what"), rows


def _fact(entry: Entry, name: str) -> str:
    value = getattr(entry, name)
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def answer_value(answer: Answer) -> dict[str, Any]:
    """Give an answer as JSON has it."""
    names = (
        *("id", "pattern", "path", "port", "extra_ports", "protocol", "geography"),
        *("isolation", "isolation_reason"),
    )
    values = (entry_value(entry) for entry in answer.entries)
    return {
        "name": answer.destination.host,
        "port": answer.destination.port,
        "matched": answer.matched,
        "entries": [
            {name: value[name] for name in (*names, "isolation", "isolation_reason")} for value in values
        ],
        "networks": [network_value(prefix) for prefix in answer.prefixes],
        "listed_ports": list(answer.listed_ports),
    }


def answer_text(answer: Answer, searched: str) -> str:
    """Give an answer as lines: yes with what covers it, or no with the reason."""
    if not answer.matched:
        ports = ", ".join(map(str, answer.listed_ports))
        why = f"listed for port {ports} only" if ports else f"not in {searched}"
        return f"{answer.destination}: no ({why})\n"
    lines = [f"{answer.destination}: yes"]
    for entry in answer.entries:
        state = f"{isolation_text(entry.isolation)} in isolation"
        lines.append(f"  {entry.id}  {entry.pattern}  {ports_text(entry)}  {entry.geography}  {state}")
    for prefix in answer.prefixes:
        state = f"{isolation_text(prefix.isolation)} in isolation"
        port = f"{prefix.port}/{prefix.protocol}"
        lines.append(f"  {prefix.name}  {prefix.network}  {port}  {prefix.geography}  {state}")
    return "\n".join(lines) + "\n"


def finding_text(each: EndpointList, finding: Finding) -> str:
    """Give a finding as a line in the form compilers use, so that editors jump to it."""
    place = each.file if finding.line is None else f"{each.file}:{finding.line}"
    return f"{place}: {finding.severity} {finding.code}: {finding.sentence}\n"
