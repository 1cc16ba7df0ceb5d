"""From list entries to targets: which hosts stand for a row, and what a right answer of each looks like."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from allowlists.model import Entry, Match, Protocol
from connectivity_check.core.ip_text import ip_of
from connectivity_check.model import Expectation, InputError, Kind, Target

Expect: TypeAlias = Callable[[str, int, str | None], Expectation]
"""(host or pattern, port, path of the row) -> what to expect; see core/expectations.py."""

MAX_NAME = 253
"""RFC 1035 section 2.3.4, without the final dot."""
MAX_LABEL = 63


def targets(entries: Iterable[Entry], expect: Expect) -> tuple[Target, ...]:
    """Give every row's targets in the order of the list; no row gives none.

    A name is its own target. A wildcard gives one target for each known host, and one without a host when
    there is none. A network cannot be proved open by one of its addresses, so it has no host either. A row
    with several ports gives its targets for each.
    """
    found: list[Target] = []
    for entry in entries:
        for port in entry.ports:
            found.extend(_of_entry(entry, port, expect))
    return tuple(found)


def _of_entry(entry: Entry, port: int, expect: Expect) -> Sequence[Target]:
    hosts: Sequence[str | None]
    if entry.match is Match.NETWORK or entry.protocol is Protocol.UDP:
        # Nothing answers an unknown UDP datagram, so neither an answer nor silence proves anything.
        hosts = (None,)
    elif entry.match is Match.EXACT:
        hosts = (entry.host,)
    else:
        hosts = entry.known_hosts or (None,)
    return [
        Target(
            n=entry.n,
            pattern=entry.pattern,
            host=host,
            port=port,
            required=entry.required is not False,
            wildcard=entry.host[2:] if entry.match is Match.SUBDOMAINS else "",
            service=entry.service,
            category=entry.category,
            geography=entry.geography,
            list_id=entry.list_id,
            path_rule=bool(entry.path),
            expectation=expect(host or entry.host, port, entry.path),
        )
        for host in hosts
    ]


def own_target(text: str, expect: Expect, n: int) -> Target:
    """Give the target of a `--target HOST[:PORT]`; [v6]:port as well. Raises InputError."""
    host, port = _host_and_port(text.strip())
    expectation = expect(host, port, None)
    return Target(
        n=n, pattern=text.strip(), host=host, port=port, list_id="--target", expectation=expectation
    )


def _host_and_port(text: str) -> tuple[str, int]:
    host, port_text = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InputError(f"{text!a} is no HOST[:PORT]: the bracket of an IPv6 address is not closed")
        port_text = rest[1:]
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
    port = 443
    if port_text or text.endswith(":"):
        if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text[:6]) < 65536):
            raise InputError(f"{text!a} is no HOST[:PORT]: the port is a number from 1 to 65535")
        port = int(port_text)
    return checked_host(host, text), port


def checked_host(host: str, text: str) -> str:
    """Give a host name in lower case and A-label form, or an address. Raises InputError quoting `text`."""
    address = ip_of(host)
    if address:
        return str(address)
    name = host.rstrip(".").lower()
    if not name.isascii():
        import idna

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            # The reason quotes the name; not every console can show it.
            reason = str(error).encode("ascii", "backslashreplace").decode("ascii")
            raise InputError(f"{text!a} is no host name: {reason}") from None
    labels = name.split(".")
    if len(name) > MAX_NAME or not all(0 < len(label) <= MAX_LABEL for label in labels):
        raise InputError(f"{text!a} is no host name: a label has 1 to 63 characters, a name at most 253")
    plain = all(c.isalnum() or c in "-_" for label in labels for c in label)
    if not plain or name.replace(".", "").isdigit():
        raise InputError(f"{text!a} is no host name: letters, digits, hyphens and dots only")
    return name


def needs_http(target: Target) -> bool:
    """Whether the chain goes on to a request; an OPAQUE port is only connected to."""
    return target.expectation.kind is not Kind.OPAQUE


def target_url(target: Target, host: str | None = None) -> str:
    """Give the URL that the chain asks for, and that a PAC file is asked about."""
    scheme, default = ("https", 443) if target.tls else ("http", 80)
    name = host or target.host or ""
    literal = f"[{name}]" if ":" in name else name
    authority = literal if target.port == default else f"{literal}:{target.port}"
    return f"{scheme}://{authority}{target.expectation.path}"
