"""What `agent.yaml` says, and the rules for single values in it; files and lines are the adapter's."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from allowlists.model import Match, ParseError
from allowlists.pattern import parse_pattern
from isolator.model.flow import Address, Network
from isolator.model.policy import ControlEndpoint, Exclusion, LearnLimits, ProxyEndpoint

MAX_LIFETIME_S = 7 * 86_400
"""Longest lifetime a learned address may be given: past that the name has long moved."""
MAX_CONTACT = 200
"""Characters of `notify.contact`; it has to fit into a desktop notification."""
MAX_UID = 2**32 - 2
"""Highest user id; 2**32 - 1 means "none" to the kernel (setresuid(2))."""
MIN_FIXED_LABELS = 2
"""Labels a wildcard exclusion must leave fixed on the right: `*.example.com`, never `*.com`."""

_GEO = re.compile(r"[A-Za-z]{2}").fullmatch
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9])?").fullmatch
_SHELL_WORDS = frozenset(("|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "&>"))


@dataclass(frozen=True, slots=True)
class NotifySettings:
    """How the person at the device is told: the hook's words (empty: no hook) and whom to call."""

    command: tuple[str, ...] = ()
    contact: str = ""


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """The controller this device belongs to; `ca` is an absolute path. The token is never shown."""

    url: str
    ca: str | None = None
    enrolment_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The whole of `agent.yaml`; the defaults are those of a missing file.

    Empty `geo` means every geography, `os` None the rows of every operating system, empty `resolvers` the
    system's own. `lists` are shipped names or absolute paths.
    """

    geo: tuple[str, ...] = ()
    os: str | None = None
    lists: tuple[str, ...] = ("streamlined",)
    profile: str = "isolation"
    resolvers: tuple[Address, ...] = ()
    control_channel: tuple[ControlEndpoint, ...] = ()
    proxies: tuple[ProxyEndpoint, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    learn: LearnLimits = field(default_factory=LearnLimits)
    notify: NotifySettings = field(default_factory=NotifySettings)
    controller: ControllerSettings | None = None


def parse_geo(text: str) -> str:
    """Give a geography in capitals. Which ones exist, the lists say; ParseError unless two letters."""
    if not _GEO(text):
        raise ParseError(f"{text!a} is no geography; write two letters such as EU")
    return text.upper()


def parse_name(text: str) -> str:
    """Give an exclusion's name: 1 to 64 letters, digits, blanks, dots, hyphens and underscores."""
    if not _NAME(text):
        raise ParseError(f"{text[:80]!a} is no name: 1 to 64 letters, digits, blanks and . _ - are allowed")
    return text


def parse_address(text: str) -> Address:
    """Give one address that a packet can be sent to.

    Raises ParseError for a network, a zone, IPv4 in IPv6 dress (RFC 4291 section 2.5.5.2), and for the
    unspecified, multicast and broadcast addresses.
    """
    try:
        address = ip_address(text)
    except ValueError:
        raise ParseError(f"{text!a} is no IPv4 or IPv6 address") from None
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped is not None):
        raise ParseError(f"{text!a} has a zone or is IPv4 in IPv6 dress; write the plain address")
    if address.is_unspecified or address.is_multicast or str(address) == "255.255.255.255":
        raise ParseError(f"{address} is not the address of one host")
    return address


def parse_resolver(text: str) -> Address:
    """Give a resolver's address; ParseError for loopback too: the stub there asks somebody else."""
    address = parse_address(text)
    if address.is_loopback:
        raise ParseError(
            f"{address} is a stub on this host, always reachable; name the resolver that the stub asks"
        )
    return address


def parse_port(number: int | None) -> int:
    """Give a port, 1 to 65535; ParseError for any other number and for none."""
    if number is None:
        raise ParseError("the port is missing")
    if not 1 <= number <= 65_535:
        raise ParseError(f"{number} is no port; ports go from 1 to 65535")
    return number


def parse_remote(text: str) -> tuple[Network | None, str | None]:
    """Give the far end of an exclusion: (network, None) or (None, name or wildcard in normal form).

    Raises ParseError for what `parse_pattern` refuses, a scheme or path (an exclusion cannot look into
    requests), and a wildcard that leaves fewer than MIN_FIXED_LABELS labels fixed.
    """
    pattern = parse_pattern(text)
    if pattern.scheme or pattern.path:
        raise ParseError(f"{text!a} carries a scheme or path; an exclusion names a host or network only")
    if pattern.network is not None:
        return pattern.network, None
    fixed = pattern.host.rpartition("*")[2].lstrip(".").split(".")
    if pattern.match is not Match.EXACT and len(fixed) < MIN_FIXED_LABELS:
        raise ParseError(f"{text!a} is too broad; leave at least {MIN_FIXED_LABELS} labels fixed")
    return None, pattern.host


def parse_learn(floor: int | None, ceiling: int | None, private: tuple[Network, ...]) -> LearnLimits:
    """Give the limits on learned addresses, None for the default; whole seconds.

    Raises ParseError for a floor above the ceiling, zero, and more than MAX_LIFETIME_S.
    """
    default = LearnLimits()
    low = default.ttl_floor_s if floor is None else float(floor)
    high = default.ttl_ceiling_s if ceiling is None else float(ceiling)
    if not 1 <= low <= MAX_LIFETIME_S or not 1 <= high <= MAX_LIFETIME_S:
        raise ParseError(f"the lifetimes of learned addresses must be 1 to {MAX_LIFETIME_S} seconds")
    if low > high:
        raise ParseError(f"the floor of {low:.0f} s is above the ceiling of {high:.0f} s")
    return LearnLimits(low, high, private)


def parse_command(words: tuple[str, ...] | str) -> tuple[str, ...]:
    """Give a command as words; one text is split like a shell would, and never run by one.

    Raises ParseError for an open quote, no words, shell operators in a text (they would silently be
    arguments), and a program given by a relative path (it would depend on where the agent was started).
    """
    if isinstance(words, str):
        try:
            words = tuple(shlex.split(words))
        except ValueError:
            raise ParseError("the command has a quote that is not closed") from None
        if any(word in _SHELL_WORDS or word.endswith(";") for word in words):
            raise ParseError("the command has shell operators, but no shell runs it; put them into a script")
    if not words or not words[0]:
        raise ParseError("the command is empty")
    if "/" in words[0] and not words[0].startswith("/"):
        raise ParseError(f"the program {words[0]!a} must be an absolute path or a plain name")
    return words


def parse_contact(text: str) -> str:
    """Give whom to call; ParseError for more than MAX_CONTACT characters."""
    if len(text) > MAX_CONTACT:
        raise ParseError(f"the contact has {len(text)} characters, at most {MAX_CONTACT} are possible")
    return text.strip()


def parse_url(text: str) -> str:
    """Give the controller's address; ParseError for anything but https with a host and no secret."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ParseError(f"{text[:80]!a} is no URL") from None
    if parts.scheme != "https" or not parts.hostname or port == 0:
        raise ParseError("the controller's URL must be https://HOST[:PORT]; orders never travel in the clear")
    if parts.username is not None or parts.query or parts.fragment:
        raise ParseError("the controller's URL must not carry a user, a query or a fragment")
    return text


def parse_uid(number: int) -> int:
    """Give a user id, 0 to MAX_UID; ParseError for any other number."""
    if not 0 <= number <= MAX_UID:
        raise ParseError(f"{number} is no user id; they go from 0 to {MAX_UID}")
    return number


def check_exclusion(exclusion: Exclusion) -> Exclusion:
    """Give the exclusion back; ParseError when its parts contradict each other.

    An incoming one needs a network (a caller shows no name) and no user (nobody owns the socket yet).
    """
    if exclusion.direction.value == "in" and exclusion.remote is None:
        raise ParseError("an incoming exclusion needs an address or network; a caller shows no name")
    if exclusion.direction.value == "in" and exclusion.uid is not None:
        raise ParseError("`process` limits outgoing exclusions only")
    return exclusion
