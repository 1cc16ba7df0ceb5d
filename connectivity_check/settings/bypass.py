"""Which destinations go past the proxy: NO_PROXY and the bypass lists of Windows."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from dataclasses import dataclass

from connectivity_check.core.ip_text import ip_of
from connectivity_check.model import InputError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry; exactly one of `suffix`, `glob`, `network`, `local` or `everything` is set."""

    suffix: str = ""
    """A name that stands for itself and everything below it."""
    glob: str = ""
    network: Network | None = None
    local: bool = False
    """Names without a dot (`<local>`)."""
    everything: bool = False
    port: int | None = None

    def matches(self, host: str, port: int) -> bool:
        """Say whether a host in lower case (name or address) falls under the rule."""
        if self.port is not None and self.port != port:
            return False
        if self.everything:
            return True
        address = ip_of(host)
        if self.network is not None:
            return address is not None and address.version == self.network.version and address in self.network
        if self.local:
            return address is None and "." not in host
        if self.glob:
            return fnmatch.fnmatchcase(host, self.glob)
        return host == self.suffix or host.endswith("." + self.suffix)


@dataclass(frozen=True, slots=True)
class Bypass:
    """The rules of one setting; none: everything goes through the proxy."""

    rules: tuple[Rule, ...] = ()

    def matches(self, host: str, port: int) -> bool:
        """Say whether this destination goes past the proxy. Names are compared, never resolved."""
        name = host.lower().strip("[]").removesuffix(".")
        return any(rule.matches(name, port) for rule in self.rules)


NOTHING = Bypass()
"""No destination goes past the proxy."""


def parse_no_proxy(text: str) -> Bypass:
    """Read NO_PROXY: names, addresses, networks, each with `:port` if wanted, by commas or blanks; `*`: all.

    `x.y` and `.x.y` mean x.y and all below it, as curl has it; `*.x.y` the same. Go takes `.x.y` and `*.x.y`
    for what is below only; the list has no row where this matters. Entries that mean nothing are passed over,
    as every client does.
    """
    return Bypass(
        tuple(rule for item in re.split(r"[,\s]+", text) if item and (rule := _no_proxy_rule(item)))
    )


def parse_bypass_list(text: str, *, where: str) -> Bypass:
    """Read a WinHTTP or WinINET bypass list: patterns with `*`, by semicolons or blanks, and `<local>`.

    A scheme before a pattern is dropped: every probe of ours is HTTPS or CRL. Raises InputError for a port
    that is none (`where` names the setting).
    """
    rules = []
    for item in filter(None, re.split(r"[;\s]+", text.lower())):
        pattern = item.partition("://")[2] or item
        if pattern == "<local>":
            rules.append(Rule(local=True))
        elif pattern != "<-loopback>":
            name, port = _port_of(pattern)
            if port is not None and not 1 <= port <= 65535:
                raise InputError(f"{where}: {pattern!r} in the bypass list has no such port")
            rules.append(Rule(glob=_escaped(name), port=port))
    return Bypass(tuple(rules))


def _escaped(pattern: str) -> str:
    # Only the star is special here; fnmatch would also read [ and ?.
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _no_proxy_rule(item: str) -> Rule | None:
    if item == "*":
        return Rule(everything=True)
    network = _network(item)
    if network is not None:
        return Rule(network=network)
    name, port = _port_of(item.lower())
    network = _network(name.strip("[]"))
    if network is not None:
        return Rule(network=network, port=port)
    suffix = name.removeprefix("*").strip(".")
    return Rule(suffix=suffix, port=port) if suffix else None


def _port_of(item: str) -> tuple[str, int | None]:
    name, colon, port = item.rpartition(":")
    if (
        colon
        and port.isascii()
        and port.isdigit()
        and len(port) <= 5
        and (":" not in name or name.endswith("]"))
    ):
        return name, int(port)
    return item, None


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
