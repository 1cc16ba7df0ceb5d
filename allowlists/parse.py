"""Text of a list file to `EndpointList`; every fault is a ListError with file, line and one sentence."""

from __future__ import annotations

import re
from dataclasses import replace

from allowlists import document, fqdn
from allowlists.document import Mapping, Node
from allowlists.fields import Fields
from allowlists.keys import CHANGE_KEYS, ENTRY_KEYS, HEADER_KEYS, NETWORK_KEYS, READ_KEYS, REFERENCE_KEYS
from allowlists.model import (
    OPERATING_SYSTEMS,
    WORLDWIDE,
    Change,
    ChangeKind,
    EndpointList,
    Entry,
    KnownHost,
    ListError,
    Match,
    ParseError,
    Protocol,
    Source,
    StaticPrefix,
)
from allowlists.pattern import Pattern, parse_network, parse_pattern

__all__ = ["ListError", "ParseError", "parse_list"]

_LIST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
_GEOGRAPHY = re.compile(r"[A-Z][A-Z0-9-]{1,15}").fullmatch
_PROTOCOLS = tuple(Protocol)
_MATCHES = tuple(Match)
_SCHEMES = ("", "http", "https")


def parse_list(text: str, source: str) -> EndpointList:
    """Give the list that a file's text holds; `source` is the file's name in messages.

    Only `header.list_id` and each row's `pattern` are needed. Absent values mean: number by position, port
    443 (80 for a pattern with http://), tcp, WW, every system, required, isolation true. Raises ListError for
    everything that is not understood to the last key; a list with no rows is refused too.
    """
    top = Fields(document.read(text, source), source, "the file", READ_KEYS | REFERENCE_KEYS)
    header_node = top.node("header")
    if header_node is None:
        raise top.error("the header is missing; it needs at least `list_id`")
    header = Fields(header_node, source, "the header", HEADER_KEYS)
    list_id = header.text("list_id")
    if _LIST_ID(list_id) is None:
        wanted = "1 to 64 letters, digits, dots, hyphens or underscores, the first a letter or digit"
        raise header.error_at("list_id", f"`list_id` must be {wanted}")
    as_of = header.day("as_of", month_is_enough=True)
    entries = _parse_entries(top, header, source, list_id)
    networks = [prefix for node in top.items("networks") for prefix in _parse_networks(node, source)]
    return EndpointList(
        list_id=list_id,
        entries=entries,
        name=header.text("name"),
        version=as_of or "undated",
        cloud=header.text("cloud"),
        as_of=as_of,
        known_until=header.day("known_until", month_is_enough=True),
        sources=_parse_sources(header, source),
        networks=tuple(prefix for prefix in networks if prefix.as_of[:7] <= as_of[:7]),
        changes=_parse_changes(top, source, list_id, entries),
        later_networks=tuple(prefix for prefix in networks if prefix.as_of[:7] > as_of[:7]),
        file=source,
    )


def _parse_entries(top: Fields, header: Fields, source: str, list_id: str) -> tuple[Entry, ...]:
    nodes = tuple(top.items("entries"))
    if not nodes:
        raise top.error_at("entries", "the list has no entries; an empty list would cut off everything")
    entries = tuple(_parse_entry(node, source, list_id, n) for n, node in enumerate(nodes, 1))
    by_number: dict[int, Entry] = {}
    for entry in entries:
        if entry.n in by_number:
            raise ListError(f"the number {entry.n} is used twice", file=source, line=entry.line)
        if entry.duplicate_of is not None:
            first = by_number.get(entry.duplicate_of)
            if first is None or (first.host, first.match) != (entry.host, entry.match):
                reason = (
                    f"row {entry.n} is no duplicate of row {entry.duplicate_of}: no earlier row has its host"
                )
                raise ListError(reason, file=source, line=entry.line)
        by_number[entry.n] = entry
    count = header.whole("count", len(entries))
    if count != len(entries):
        raise header.error_at(
            "count", f"the header counts {count} rows, the file has {len(entries)}; is it cut off?"
        )
    return entries


def _parse_entry(node: Node, source: str, list_id: str, position: int) -> Entry:
    fields = Fields(node, source, f"row {position}", ENTRY_KEYS)
    n = fields.whole("n", position)
    if n < 1:
        raise fields.error_at("n", f"{fields.what} needs a number `n` from 1 on")
    published = fields.text("pattern")
    if not published.strip():
        raise fields.error_at("pattern", f"row {position} has no pattern")
    try:
        pattern = parse_pattern(published)
    except ParseError as error:
        raise fields.error_at("pattern", error.reason) from None
    _check_agreement(fields, pattern)
    scheme = fields.one_of("scheme", _SCHEMES, pattern.scheme)
    port = _port(fields, 80 if pattern.scheme == "http" else 443)
    apex = fields.flag("apex", fields.has("bare_host_in_use"))
    if apex and pattern.match is not Match.SUBDOMAINS:
        raise fields.error_at("apex", f"`apex` of {fields.what} needs a pattern that begins with *.")
    facts = _parse_known_hosts(fields, pattern, apex, source)
    return Entry(
        n=n,
        pattern=published,
        host=pattern.host,
        match=pattern.match,
        port=port,
        extra_ports=_extra_ports(fields, port),
        protocol=Protocol(fields.one_of("protocol", _PROTOCOLS, Protocol.TCP)),
        path=pattern.path,
        scheme=scheme,
        service=fields.text("service"),
        category=fields.text("category"),
        purpose=fields.text("purpose"),
        geography=_geography(fields),
        os=_systems(fields),
        required=fields.optional_flag("required", True),
        isolation=fields.flag("isolation", True),
        isolation_reason=fields.text("isolation_reason"),
        apex=apex,
        known_hosts=tuple(fact.host for fact in facts),
        known_host_facts=facts,
        network=pattern.network,
        source=fields.texts("source"),
        notes=fields.text("notes"),
        certainty=fields.text("certainty"),
        duplicate_of=fields.whole("duplicate_of", 0) or None,
        list_id=list_id,
        line=fields.line,
    )


def _check_agreement(fields: Fields, pattern: Pattern) -> None:
    """Refuse a host, path or match that says something else than the pattern a person reads."""
    stated = (("host", pattern.host), ("path", pattern.path or ""), ("match", pattern.match.value))
    for key, derived in stated:
        if fields.node(key) is not None and fields.text(key) != derived:
            reason = f"`{key}` of {fields.what} is {fields.text(key)!a}, its pattern says {derived!a}"
            raise fields.error_at(key, reason)


def _parse_known_hosts(fields: Fields, pattern: Pattern, apex: bool, source: str) -> tuple[KnownHost, ...]:
    facts: list[KnownHost] = []
    for item in fields.items("known_hosts"):
        known: str | None
        if isinstance(item, Mapping):
            inner = Fields(item, source, f"a known host of {fields.what}", ("host", "geography", "source"))
            fact = KnownHost(inner.text("host"), _geography(inner), inner.texts("source"))
        else:
            fact = KnownHost(
                Fields(Mapping({"host": item}, item.line), source, fields.what, ("host",)).text("host")
            )
        known = fact.host if fqdn.is_normal(fact.host) else None
        if known is None or not fqdn.matches(pattern.host, pattern.match, known, apex=apex):
            raise fields.error(f"the known host {fact.host!a} is not covered by {pattern.host!a}", item)
        facts.append(fact)
    return tuple(facts)


def _port(fields: Fields, default: int) -> int:
    return _check_port(fields, "port", fields.whole("port", default))


def _extra_ports(fields: Fields, port: int) -> tuple[int, ...]:
    extra = tuple(_check_port(fields, "extra_ports", number) for number in fields.wholes("extra_ports"))
    if len({port, *extra}) <= len(extra):
        raise fields.error_at("extra_ports", f"{fields.what} has a port twice")
    return extra


def _check_port(fields: Fields, key: str, port: int) -> int:
    if not 1 <= port <= 65535:
        raise fields.error_at(key, f"`{key}` of {fields.what} has {port}; ports go from 1 to 65535")
    return port


def _geography(fields: Fields) -> str:
    text = fields.text("geography", WORLDWIDE)
    if _GEOGRAPHY(text) is None:
        raise fields.error_at(
            "geography", f"`geography` of {fields.what} must be a code like WW or US, not {text!a}"
        )
    return text


def _systems(fields: Fields) -> tuple[str, ...]:
    systems = fields.texts("os")
    for name in systems:
        if name not in OPERATING_SYSTEMS:
            known = ", ".join(OPERATING_SYSTEMS)
            raise fields.error_at("os", f"`os` of {fields.what} has {name!a}; known are {known}")
    return systems


def _parse_sources(header: Fields, source: str) -> tuple[Source, ...]:
    node = header.node("sources")
    if node is None:
        return ()
    if not isinstance(node, Mapping):
        raise header.error("`sources` of the header must be a mapping of names to sources", node)
    found: list[Source] = []
    for name, item in node.fields.items():
        fields = Fields(item, source, f"source {name!a}", ("what", "where", "commit", "date"))
        found.append(
            Source(
                name, fields.text("what"), fields.text("where"), fields.text("commit"), fields.text("date")
            )
        )
    return tuple(found)


def _parse_networks(node: Node, source: str) -> tuple[StaticPrefix, ...]:
    fields = Fields(node, source, "a network", NETWORK_KEYS)
    found: list[StaticPrefix] = []
    model = StaticPrefix(
        network=parse_network("192.0.2.0/24"),
        name=fields.text("name"),
        geography=_geography(fields),
        port=_port(fields, 443),
        protocol=Protocol(fields.one_of("protocol", _PROTOCOLS, Protocol.TCP)),
        isolation=fields.flag("isolation", True),
        isolation_reason=fields.text("isolation_reason"),
        as_of=fields.day("as_of", month_is_enough=True),
        source=fields.texts("source"),
    )
    for text in fields.texts("prefixes"):
        try:
            found.append(replace(model, network=parse_network(text)))
        except ParseError as error:
            raise fields.error_at("prefixes", error.reason) from None
    if not found:
        raise fields.error("a network has no prefixes")
    return tuple(found)


def _parse_changes(top: Fields, source: str, list_id: str, entries: tuple[Entry, ...]) -> tuple[Change, ...]:
    """Give the changes in order of date; each must fit what the ones before it leave."""
    current = {entry.n: entry for entry in entries}
    used = set(current)
    changes: list[Change] = []
    for node in top.items("changes"):
        fields = Fields(node, source, "a change", CHANGE_KEYS)
        date = fields.day("date")
        if not date or (changes and date < changes[-1].date):
            raise fields.error("a change needs a date, not before the change above it")
        kind = ChangeKind(fields.one_of("change", tuple(ChangeKind), ""))
        if kind is ChangeKind.ADDED:
            added = fields.node("entry")
            entry = None if added is None else _parse_entry(added, source, list_id, 0)
            if entry is None or entry.n in used:
                raise fields.error("an added row needs `entry` with a number `n` that no row has had")
            current[entry.n] = entry
            used.add(entry.n)
        else:
            entry = current.pop(fields.whole("n", 0), None)
            if entry is None:
                raise fields.error("a removed row needs `n`, the number of a row that is there")
        changes.append(
            Change(date, kind, entry, fields.text("dated"), fields.text("notes"), fields.texts("source"))
        )
    return tuple(changes)
