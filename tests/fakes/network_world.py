"""A small world as data: which names have which addresses, and what stands behind a door (address, port)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from connectivity_check.failure import Seen
from connectivity_check.model import ProxyScheme


class Tcp(StrEnum):
    """What becomes of a SYN."""

    ACCEPT = "accept"
    DROP = "drop"
    REFUSE = "refuse"
    """A reset."""
    PROHIBIT = "prohibit"
    """ICMP 3/13 of the firewall."""
    UNREACHABLE = "unreachable"
    """ICMP 3/1 of the router."""
    LOCAL = "local"
    """EPERM at once."""


class Tls(StrEnum):
    """What becomes of a ClientHello."""

    GOOD = "good"
    RESET = "reset"
    SILENT = "silent"
    END = "end"
    NOT_TLS = "not_tls"
    ALERT = "alert"
    UNTRUSTED = "untrusted"
    INSPECTED = "inspected"
    """The system trusts the chain, the public bundle does not."""
    EXPIRED = "expired"
    WRONG_NAME = "wrong_name"


@dataclass(frozen=True, slots=True)
class Page:
    """What becomes of a request. `cut`: instead of an answer."""

    status: int = 200
    body: str = "OK"
    html: bool = False
    parsed: bool = True
    """Whether a CRL, OCSP answer or trust list is one."""
    cut: Seen | None = None
    after_s: float = 0.01
    tampered: tuple[tuple[str, str, str], ...] = ()
    """(header, sent, got) that a header echo would show."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A proxy behind a door. It sees the same names and doors as everybody else."""

    scheme: ProxyScheme = ProxyScheme.HTTP
    denied: frozenset[str] = frozenset()
    """Names that it answers 403 for; "*" for all."""
    status: int = 0
    """What it answers every request, when not 0."""
    silent: bool = False
    tls: Tls = Tls.GOOD
    """Of an https proxy itself."""


@dataclass(frozen=True, slots=True)
class Door:
    """What answers at one address and port."""

    tcp: Tcp = Tcp.ACCEPT
    rtt_s: float = 0.01
    tls: Tls = Tls.GOOD
    tls_of: Mapping[str, Tls] = field(default_factory=dict)
    """For some server names."""
    page: Page = Page()
    gate: Gate | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resolver says. `seen` TIMEOUT: nothing."""

    addresses: tuple[str, ...] = ()
    seen: Seen | None = None
    after_s: float = 0.01


NXDOMAIN = Answer(seen=Seen.DNS_NXDOMAIN)
SILENCE = Answer(seen=Seen.TIMEOUT)
DROPPED = Door(tcp=Tcp.DROP)
RESOLVER, FIREWALL, ROUTER, OWN = "10.0.0.53", "10.0.0.254", "10.0.0.1", "10.0.0.10"


@dataclass(slots=True)
class World:
    """Names and doors. A name may be `*.suffix`; an address that has no doors at all drops everything."""

    names: dict[str, Answer] = field(default_factory=dict)
    doors: dict[tuple[str, int], Door] = field(default_factory=dict)
    other_names: Answer = NXDOMAIN
    other_doors: Door = DROPPED
    hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The hosts file."""
    resolvers: tuple[str, ...] = (RESOLVER,)
    elsewhere: dict[str, dict[str, Answer]] = field(default_factory=dict)
    """Other resolvers and the names they know."""

    def answer(self, name: str, server: str | None = None) -> Answer:
        """Give what a resolver says; where no resolver is, nobody answers."""
        if server is None or server in self.resolvers:
            return _of_names(self.names, name) or self.other_names
        if server in self.elsewhere:
            return _of_names(self.elsewhere[server], name) or NXDOMAIN
        return SILENCE

    def door(self, address: str, port: int) -> Door:
        """Give what is at an address and port."""
        return self.doors.get((address, port), self.other_doors)

    def door_of(self, host: str, port: int) -> Door | None:
        """Give what a proxy finds for a host; None when the name does not resolve."""
        if _is_address(host):
            return self.door(host, port)
        addresses = self.answer(host).addresses
        return self.door(addresses[0], port) if addresses else None

    def add(self, name: str, address: str, port: int = 443, door: Door | None = None) -> None:
        """Add a name with one address (more of them with each call) and what answers there."""
        had = self.names.get(name, Answer()).addresses
        self.names[name] = Answer(tuple(dict.fromkeys((*had, address))))
        self.doors[address, port] = door or Door()


def _of_names(names: Mapping[str, Answer], name: str) -> Answer | None:
    if name in names:
        return names[name]
    labels = name.split(".")
    suffixes = (".".join(("*", *labels[n:])) for n in range(1, len(labels)))
    return next((names[each] for each in suffixes if each in names), None)


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()
