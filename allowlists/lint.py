"""What is doubtful about a list: rows that open too much, cannot be enforced, say nothing new, or are old."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from functools import cache, partial
from typing import TYPE_CHECKING

from allowlists import fqdn, merge
from allowlists.index import Index
from allowlists.model import EndpointList, Entry, Finding, Match, Network, Severity

if TYPE_CHECKING:
    from tldextract import TLDExtract

STALE_AFTER_MONTHS = 12

MULTI_TENANT = (
    "dfs.core.windows.net",
    "file.core.windows.net",
    "ods.opinsights.azure.com",
    "oms.opinsights.azure.com",
    "onmicrosoft.com",
    "queue.core.windows.net",
    "sharepoint.com",
    "table.core.windows.net",
    "vault.azure.net",
)
"""Domains where every customer gets a name of their own, and which the public suffix list does not have."""

_TOO_WIDE = {4: (8, 16), 6: (20, 32)}
"""By IP version: a shorter prefix than the first is an error, than the second a warning."""


def lint(each: EndpointList, *, today: date, months: int = STALE_AFTER_MONTHS) -> tuple[Finding, ...]:
    """Give the findings about a list, those about the whole first, then by row; none is the best result.

    `today` and `months` decide what is stale. Public suffixes come from the copy of the list that tldextract
    brings along; nothing is fetched or written.
    """
    index = Index(each.entries)
    networks = {entry.network: entry for entry in reversed(each.entries) if entry.network is not None}
    first = {}
    for entry in reversed(each.entries):
        first[merge.destination(entry)] = entry
    findings = [*_age(each, today, months), *_prefixes(each)]
    for entry in each.entries:
        original = first[merge.destination(entry)]
        if original is not entry:
            findings.extend(_duplicate(entry, original))
        else:
            findings.extend(_shadowed(entry, index, networks))
        findings.extend(_breadth(entry))
        findings.extend(_enforcement(entry))
        findings.extend(_sources(entry, each))
    return tuple(findings)


def _age(each: EndpointList, today: date, months: int) -> Iterator[Finding]:
    if not each.as_of:
        yield Finding(
            "undated", Severity.NOTE, "The header has no as_of; nobody can tell how old the list is."
        )
        return
    year, month = int(each.as_of[:4]), int(each.as_of[5:7])
    age = (today.year - year) * 12 + today.month - month
    if age > months:
        sentence = f"The list is as of {each.as_of}, {age} months ago; check it against the published page."
        yield Finding("stale", Severity.WARNING, sentence)


def _prefixes(each: EndpointList) -> Iterator[Finding]:
    for prefix in each.networks:
        severity = _width(prefix.network)
        if severity is not None:
            sentence = f"The prefix {prefix.network} of {prefix.name or 'a network'} is very wide."
            yield Finding("network_too_wide", severity, sentence)


def _duplicate(entry: Entry, original: Entry) -> Iterator[Finding]:
    if entry.duplicate_of is None:
        sentence = f"Row {entry.n} opens the same destination as row {original.n}; mark it with duplicate_of."
        yield _finding("duplicate_row", Severity.WARNING, sentence, entry)


def _shadowed(entry: Entry, index: Index, networks: dict[Network, Entry]) -> Iterator[Finding]:
    """Find a broader row that already opens all of this one, for the same hosts and in the same profile."""
    for broader in (*_broader_names(entry, index), *_broader_networks(entry, networks)):
        if (
            broader.host != entry.host
            and broader.path is None
            and broader.protocol is entry.protocol
            and set(entry.ports) <= set(broader.ports)
            and broader.geography in ("WW", entry.geography)
            and (not broader.os or (entry.os and set(entry.os) <= set(broader.os)))
            and (broader.isolation or not entry.isolation)
        ):
            sentence = f"Row {entry.n} opens nothing that row {broader.n} ({broader.pattern}) does not."
            yield _finding("shadowed_row", Severity.NOTE, sentence, entry)
            return


def _broader_names(entry: Entry, index: Index) -> tuple[Entry, ...]:
    if entry.match is Match.EXACT:
        return index.match(entry.host)
    if entry.match is Match.SUBDOMAINS:
        # Any name under the suffix will do: what covers one by a shorter suffix covers them all.
        names = index.match("x." + entry.host[2:])
        return tuple(row for row in names if row.match is Match.SUBDOMAINS)
    return ()


def _broader_networks(entry: Entry, networks: dict[Network, Entry]) -> Iterator[Entry]:
    if entry.network is not None:
        for length in range(entry.network.prefixlen - 1, 0, -1):
            broader = networks.get(entry.network.supernet(new_prefix=length))
            if broader is not None:
                yield broader


def _breadth(entry: Entry) -> Iterator[Finding]:
    # A row that the default profile leaves shut does harm only to those who ask for every row.
    worst = Severity.ERROR if entry.isolation else Severity.WARNING
    if entry.network is not None:
        severity = _width(entry.network)
        if severity is not None:
            sentence = f"Row {entry.n} opens {entry.network.num_addresses} addresses."
            yield _finding("network_too_wide", severity, sentence, entry)
        if entry.network.is_loopback or entry.network.is_link_local or entry.network.is_multicast:
            sentence = (
                f"Row {entry.n} opens {entry.network}, which is no address of a service on the internet."
            )
            yield _finding("special_address", Severity.WARNING, sentence, entry)
    elif entry.match is Match.SUBDOMAINS:
        yield from _shared_domain(entry, entry.host[2:], worst)
    elif entry.match is Match.GLOB:
        labels = entry.host.split(".")
        fixed = len(_suffix_list()(entry.host.replace("*", "x")).suffix.split("."))
        if any("*" in label for label in labels[-fixed - 1 :]):
            sentence = f"Row {entry.n} ({entry.pattern}) covers domains that anybody can register."
            yield _finding("public_suffix", worst, sentence, entry)


def _shared_domain(entry: Entry, suffix: str, worst: Severity) -> Iterator[Finding]:
    found = _suffix_list()(suffix)
    if found.suffix == suffix and not found.is_private:
        sentence = f"Row {entry.n} ({entry.pattern}) covers a public suffix; anybody can register under it."
        yield _finding("public_suffix", worst, sentence, entry)
    elif found.suffix == suffix or suffix in _shared():
        sentence = f"Row {entry.n} ({entry.pattern}) covers shared hosting, where anybody can have a name."
        yield _finding("shared_hosting", worst, sentence, entry)
    elif "." not in suffix:
        # No public top-level domain, so an inner one; still more than a service needs.
        sentence = f"Row {entry.n} ({entry.pattern}) covers a whole top-level domain."
        yield _finding("public_suffix", Severity.WARNING, sentence, entry)


def _enforcement(entry: Entry) -> Iterator[Finding]:
    note = partial(_finding, severity=Severity.NOTE, entry=entry)
    if entry.path is not None and set(entry.ports) != {80}:
        sentence = (
            f"Row {entry.n} has the path {entry.path}, which is enforced on port 80 only: inside TLS "
            "nobody can see it, and the whole host opens."
        )
        yield _finding("path_not_enforced", Severity.WARNING, sentence, entry)
    if 80 in entry.ports:
        yield note(
            "plain_http", sentence=f"Row {entry.n} opens port 80, where anybody on the way can read along."
        )
    if entry.match in (Match.SUBDOMAINS, Match.GLOB) and not entry.known_hosts:
        yield note("no_known_host", sentence=f"Row {entry.n} ({entry.pattern}) names no known host to probe.")


def _sources(entry: Entry, each: EndpointList) -> Iterator[Finding]:
    known = {source.id for source in each.sources}
    for name in entry.source:
        if known and name not in known:
            sentence = f"Row {entry.n} names the source {name!a}, which the header does not have."
            yield _finding("unknown_source", Severity.WARNING, sentence, entry)


def _finding(code: str, severity: Severity, sentence: str, entry: Entry) -> Finding:
    return Finding(code, severity, sentence, entry.n, entry.line)


def _width(network: Network) -> Severity | None:
    error, warning = _TOO_WIDE[network.version]
    if network.prefixlen < error:
        return Severity.ERROR
    return Severity.WARNING if network.prefixlen < warning else None


@cache
def _suffix_list() -> TLDExtract:
    """Give the bundled public suffix list with its private section; never the network, never a cache file."""
    import tldextract  # it brings an HTTP client along, which only lint has to wait for

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True)


@cache
def _shared() -> frozenset[str]:
    """Give every domain that has a public suffix or one of MULTI_TENANT at or below it."""
    found: set[str] = set(MULTI_TENANT)
    parents: Callable[[str], Iterator[str]] = fqdn.suffixes
    for suffix in (*_suffix_list().tlds, *MULTI_TENANT):
        found.update(parents(suffix.removeprefix("!").removeprefix("*.")))
    return frozenset(found)
