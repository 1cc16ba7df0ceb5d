"""The index agrees with asking every row in turn."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from allowlists import fqdn, merge
from allowlists.index import Index
from allowlists.model import EndpointList, Entry, Match, ParseError, Protocol
from allowlists.pattern import parse_pattern

LABEL = st.sampled_from(["a", "b", "ab", "c"])
NAMES = st.lists(LABEL, min_size=1, max_size=5).map(".".join)
HOSTS = st.one_of(
    NAMES,
    NAMES.map("*.".__add__),
    st.lists(st.one_of(LABEL, st.sampled_from(["*", "a*", "*b"])), min_size=1, max_size=4).map(".".join),
)


@st.composite
def rows(draw: st.DrawFn) -> list[Entry]:
    found: list[Entry] = []
    for text in draw(st.lists(HOSTS, max_size=12)):
        try:
            pattern = parse_pattern(text)
        except ParseError:
            continue
        found.append(
            Entry(
                n=len(found) + 1,
                pattern=text,
                host=pattern.host,
                match=pattern.match,
                port=draw(st.sampled_from([80, 443])),
                extra_ports=draw(st.sampled_from([(), (8080,)])),
                protocol=draw(st.sampled_from(Protocol)),
                apex=pattern.match is Match.SUBDOMAINS and draw(st.booleans()),
                isolation=draw(st.booleans()),
                geography=draw(st.sampled_from(["WW", "US", "EU"])),
            )
        )
    return found


def covers(entry: Entry, name: str) -> bool:
    """Judge one row by its published text alone, in the words of the documentation."""
    labels, wanted = name.split("."), entry.host.split(".")
    if entry.match is Match.EXACT:
        return labels == wanted
    if entry.match is Match.SUBDOMAINS:
        suffix = wanted[1:]
        return labels[-len(suffix) :] == suffix and (len(labels) > len(suffix) or entry.apex)
    return fqdn.glob_matches(entry.host, name)


@given(rows(), NAMES, st.sampled_from([None, 80, 443, 8080]), st.sampled_from([None, *Protocol]))
def test_the_index_agrees_with_every_row(
    entries: list[Entry], name: str, port: int | None, protocol: Protocol | None
) -> None:
    wanted = {
        entry.n
        for entry in entries
        if covers(entry, name)
        and (port is None or port in entry.ports)
        and (protocol is None or protocol == entry.protocol)
    }
    index = Index(entries)
    found = [entry.n for entry in index.match(name, port, protocol)]
    assert set(found) == wanted
    assert len(found) == len(wanted), "no row twice"
    assert index.match(name.upper() + ".", port, protocol) == index.match(name, port, protocol)
    assert index.covers(name) is any(covers(entry, name) for entry in entries)


@given(rows(), st.text(max_size=60))
def test_text_of_any_kind_raises_nothing_and_matches_only_as_its_normal_form(
    entries: list[Entry], text: str
) -> None:
    found = Index(entries).match(text)
    try:
        normal = fqdn.normalise(text)
    except ParseError:
        assert found == ()
    else:
        assert {entry.n for entry in found} == {entry.n for entry in entries if covers(entry, normal)}


@given(
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 32)), max_size=8),
    st.integers(0, 2**32 - 1),
)
def test_addresses_agree_with_every_row(starts: list[tuple[int, int]], address: int) -> None:
    entries = []
    for n, (start, length) in enumerate(starts, 1):
        network = ip_network((start, length), strict=False)
        entries.append(
            Entry(n=n, pattern=str(network), host=str(network), match=Match.NETWORK, network=network)
        )
    wanted = IPv4Address(address)
    found = Index(entries).match_address(wanted)
    assert {entry.n for entry in found} == {
        entry.n for entry in entries if entry.network and wanted in entry.network
    }


@given(rows(), st.lists(st.sampled_from(["US", "EU", "WW"]), max_size=2))
def test_select_loses_no_destination_and_names_none_twice(entries: list[Entry], geo: list[str]) -> None:
    each = EndpointList("t", tuple(entries))
    kept = merge.rows([each, each], geo=geo, profile="isolation")
    chosen = merge.select([each, each], geo=geo)
    destinations = [merge.destination(entry) for entry in chosen]
    assert len(set(destinations)) == len(destinations)
    assert set(destinations) == {merge.destination(entry) for entry in kept}
    assert all(entry.isolation for entry in chosen)
    assert not geo or {entry.geography for entry in chosen} <= {*geo, "WW"}
