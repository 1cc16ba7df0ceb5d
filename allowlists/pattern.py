"""One published pattern taken apart: scheme, host, path or network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_interface, ip_network

from allowlists import fqdn
from allowlists.model import Match, Network, ParseError

_ADDRESS_LIKE = re.compile(r"[0-9./]+|[0-9a-fA-F:.]*:[0-9a-fA-F:./%]*:.*|\[.*").fullmatch
_PATH = re.compile(r"/[!-~]*").fullmatch


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a pattern says; `host` is in normal form, a network's is its text."""

    host: str
    match: Match
    scheme: str = ""
    path: str | None = None
    network: Network | None = None


def parse_pattern(text: str) -> Pattern:
    """Take a pattern apart: `host`, `*.host`, a glob, an address or network, each host with scheme or path.

    Blanks around it are ignored (published tables have them), and so is a path of "/" alone. Raises
    ParseError for anything else, for a port in the pattern, and for patterns that open everything.
    """
    text = text.strip()
    if _ADDRESS_LIKE(text):
        network = parse_network(text)
        return Pattern(host=str(network), match=Match.NETWORK, network=network)
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    elif scheme.lower() not in ("http", "https"):
        raise ParseError(f"the scheme {scheme!a} is unknown; known are http and https")
    host, slash, path = rest.partition("/")
    if ":" in host:
        raise ParseError(f"{text!a} carries a port; write the port under `port`")
    if slash and _PATH(slash + path) is None:
        raise ParseError(f"the path of {text!a} has a character that no path has")
    if host in ("*", "*."):
        raise ParseError("the pattern * opens every name; name a domain")
    name, match = fqdn.parse_host(host)
    return Pattern(host=name, match=match, scheme=scheme.lower(), path=slash + path if path else None)


def parse_network(text: str) -> Network:
    """Give an IPv4 or IPv6 network; one address is a network of full length.

    Raises ParseError for text that is none, bits right of the prefix, a network of everything, an IPv6 zone,
    and IPv4 written as IPv6 (RFC 4291 section 2.5.5.2), which on the wire is plain IPv4.
    """
    try:
        network = ip_network(text)
    except ValueError:
        raise ParseError(_network_fault(text)) from None
    if network.prefixlen == 0:
        raise ParseError(f"the network {network} opens every address; name the networks that are needed")
    if isinstance(network, IPv6Network):
        if getattr(network.network_address, "scope_id", None) is not None:
            raise ParseError(f"{text!a} has a zone; write the address without it")
        if network.network_address.ipv4_mapped is not None and network.prefixlen >= 96:
            raise ParseError(f"{text!a} is an IPv4 address in IPv6 dress; write the IPv4 address")
    return network


def _network_fault(text: str) -> str:
    try:
        meant = ip_interface(text).network
    except ValueError:
        return f"{text!a} is no IPv4 or IPv6 address or network"
    return f"{text!a} has bits right of its prefix; is {meant} meant?"
