"""The values of an endpoint list: entry, list, static prefix, dated change, finding, and the one error."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network

WORLDWIDE = "WW"
"""The geography of a row that every tenant needs."""

GEOGRAPHIES = ("AU", "EU", "UK", "US")
"""The tenant data locations that the published lists have known since 2024; a list may add its own."""

OPERATING_SYSTEMS = ("linux", "macos", "windows", "windows_7_8.1", "windows_server_mma")
"""The values of `os`; "windows" is Windows 10/11 and servers with the unified agent."""


class ParseError(ValueError):
    """Text that is not what it should be; `reason` is one sentence for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Give the reason alone."""
        return self.reason


class ListError(ParseError):
    """A list, or a wish about a list, that cannot be used.

    `file` is the path or shipped name ('' when the fault is not in a file), `line` counts from 1 (None when
    the fault has no line, such as a file that cannot be opened). The text is "FILE:LINE: reason".
    """

    def __init__(self, reason: str, *, file: str = "", line: int | None = None) -> None:
        super().__init__(reason)
        self.file = file
        self.line = line

    def __str__(self) -> str:
        """Give file, line and reason, as far as there are any."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.reason}" if place else self.reason


class Match(StrEnum):
    """How a pattern covers destinations."""

    EXACT = "exact"
    """This host only."""
    SUBDOMAINS = "subdomains"
    """`*.suffix`: one or more labels left of the suffix; the bare suffix only when `Entry.apex` says so."""
    GLOB = "glob"
    """A star elsewhere in the host; see `fqdn.glob_matches`."""
    NETWORK = "network"
    """An IPv4 or IPv6 network; one address is a network of its full length."""


class Protocol(StrEnum):
    """The transport of an entry."""

    TCP = "tcp"
    UDP = "udp"


class Profile(StrEnum):
    """Which rows an isolated host keeps: those a responder needs, or every row of the list."""

    ISOLATION = "isolation"
    ALL = "all"


class Severity(StrEnum):
    """How bad a finding is; only an error makes `isolator-lists lint` exit with 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class ChangeKind(StrEnum):
    """What a dated change does to the entries."""

    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Source:
    """One publication that rows were taken from; rows name it by `id`."""

    id: str
    what: str
    where: str = ""
    commit: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A real host under a wildcard, good for a probe, with the place where it was seen."""

    host: str
    geography: str = WORLDWIDE
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a destination that may stay open.

    `pattern` is the row as published, `host` its host part in normal form: a name, `*.suffix`, a glob, or
    the network as text. `port` is the published port, `extra_ports` others that further sources name.
    `path` is data for the HTTP checks; a packet filter cannot enforce it. An empty `os` means every
    operating system. `required` is None when no source says.
    """

    n: int
    pattern: str
    host: str
    match: Match = Match.EXACT
    port: int = 443
    extra_ports: tuple[int, ...] = ()
    protocol: Protocol = Protocol.TCP
    path: str | None = None
    scheme: str = ""
    service: str = ""
    category: str = ""
    purpose: str = ""
    geography: str = WORLDWIDE
    os: tuple[str, ...] = ()
    required: bool | None = True
    isolation: bool = True
    """Whether the row stays open under the profile `isolation`."""
    isolation_reason: str = ""
    apex: bool = False
    """With `*.suffix`: the bare suffix is allowed too, because a source shows it in use."""
    known_hosts: tuple[str, ...] = ()
    known_host_facts: tuple[KnownHost, ...] = ()
    """The same hosts with geography and source."""
    network: Network | None = None
    """Set exactly when `match` is NETWORK."""
    source: tuple[str, ...] = ()
    notes: str = ""
    certainty: str = ""
    duplicate_of: int | None = None
    """The first row with the same destination; a duplicate keeps its number and place."""
    list_id: str = ""
    line: int | None = None
    """Where the row begins in its file."""

    @property
    def id(self) -> str:
        """Give "list_id#n", the same in every edition of a list."""
        return f"{self.list_id}#{self.n}"

    @property
    def ports(self) -> tuple[int, ...]:
        """Give every port, the published one first."""
        return (self.port, *self.extra_ports)


@dataclass(frozen=True, slots=True)
class StaticPrefix:
    """One published address range of a service; `as_of` is the publication that has it first."""

    network: Network
    name: str
    """The service tag, such as MicrosoftDefenderForEndpoint."""
    geography: str = WORLDWIDE
    port: int = 443
    protocol: Protocol = Protocol.TCP
    isolation: bool = False
    isolation_reason: str = ""
    as_of: str = ""
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A dated change to the entries after the list's `as_of`.

    `date` is YYYY-MM-DD, the day from which the change is known to hold; `dated` is the date as published
    when that is less exact. `entry` is the row that came, or the one that went.
    """

    date: str
    kind: ChangeKind
    entry: Entry
    dated: str = ""
    notes: str = ""
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointList:
    """A list at one edition; `entries` and `networks` are what holds at `as_of`."""

    list_id: str
    entries: tuple[Entry, ...]
    name: str = ""
    version: str = "undated"
    """The edition: `as_of`, or "undated" when the file gives none."""
    cloud: str = ""
    as_of: str = ""
    """YYYY-MM or YYYY-MM-DD; '' when the file gives none."""
    known_until: str = ""
    """The last edition the changes cover; after it nothing is known. '' means `as_of`."""
    sources: tuple[Source, ...] = ()
    networks: tuple[StaticPrefix, ...] = ()
    changes: tuple[Change, ...] = ()
    """Every change after the first edition, in order of date, whichever edition this is."""
    later_networks: tuple[StaticPrefix, ...] = ()
    """Prefixes first published after `as_of`."""
    file: str = ""

    @property
    def count(self) -> int:
        """Give the number of rows, duplicates included."""
        return len(self.entries)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing lint has to say; `n` and `line` are None when it is about the list as a whole."""

    code: str
    severity: Severity
    sentence: str
    n: int | None = None
    line: int | None = None
