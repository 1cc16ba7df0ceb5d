"""One destination looked up in lists: which rows and prefixes cover it, and at which ports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from allowlists import fqdn
from allowlists.index import Index
from allowlists.model import EndpointList, Entry, ParseError, Profile, StaticPrefix


@dataclass(frozen=True, slots=True)
class Destination:
    """A host name in normal form or an address, with a port or None for any port."""

    host: str
    port: int | None = None
    address: IPv4Address | IPv6Address | None = None

    def __str__(self) -> str:
        """Give host and port as people write them, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What lists say about a destination; `listed_ports` has the ports of rows that fit but for the port."""

    destination: Destination
    entries: tuple[Entry, ...]
    prefixes: tuple[StaticPrefix, ...]
    listed_ports: tuple[int, ...]

    @property
    def matched(self) -> bool:
        """Say whether anything covers the destination, its port included."""
        return bool(self.entries or self.prefixes)


def parse_destination(text: str) -> Destination:
    """Take NAME, NAME:PORT, an address, or [IPv6]:PORT apart; raises ParseError for anything else."""
    host, port = text, None
    if "://" in text:
        raise ParseError(f"{text!a} is a URL; write NAME or NAME:PORT")
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ParseError(f"{text!a} is no address in brackets; write [ADDRESS]:PORT")
        port = _parse_port(rest[1:]) if rest else None
    elif text.count(":") == 1:
        host, _, digits = text.partition(":")
        port = _parse_port(digits)
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return Destination(fqdn.normalise(host), port)
        except ParseError as error:
            raise ParseError(f"{error.reason}; write NAME or NAME:PORT") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped  # on the wire it is IPv4
    return Destination(str(address), port, address)


def _parse_port(digits: str) -> int:
    if digits.isascii() and digits.isdigit() and len(digits) <= 5 and 1 <= int(digits) <= 65535:
        return int(digits)
    raise ParseError(f"{digits!a} is no port; ports go from 1 to 65535")


def look_up(
    lists: Sequence[EndpointList], destinations: Iterable[Destination], profile: Profile
) -> list[Answer]:
    """Give one answer per destination, from what the profile leaves open of all lists."""
    every = profile is Profile.ALL
    index = Index(entry for each in lists for entry in each.entries if every or entry.isolation)
    prefixes = [prefix for each in lists for prefix in each.networks if every or prefix.isolation]
    return [_answer(index, prefixes, destination) for destination in destinations]


def _answer(index: Index, prefixes: Sequence[StaticPrefix], destination: Destination) -> Answer:
    port, address = destination.port, destination.address
    static: list[StaticPrefix] = []
    if address is None:
        found = index.match(destination.host)
    else:
        found = index.match_address(address)
        static = [prefix for prefix in prefixes if address in prefix.network]
    return Answer(
        destination=destination,
        entries=tuple(entry for entry in found if port is None or port in entry.ports),
        prefixes=tuple(prefix for prefix in static if port in (None, prefix.port)),
        listed_ports=tuple(sorted({p for x in found for p in x.ports} | {x.port for x in static})),
    )
