"""What a connection has to say first so that it may go on: names on the wire, in words for `explain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from allowlists.model import Entry
from isolator.core.compiler import QUIC_PORT
from isolator.core.name_check import HTTP_PORTS
from isolator.core.trace import Walk
from isolator.model.flow import Destination, Transport
from isolator.model.policy import ProxyEndpoint
from isolator.model.verdict import Reason, Verdict
from isolator.service.policy_builder import EXCLUSION_LIST

_FEW = 5
"""Names or paths that a sentence lists."""


class How(Enum):
    """How a connection names its host; the value is what `explain --json` shows."""

    TLS_SERVER_NAME = "tls_server_name"
    HTTP_HOST = "http_host"
    PROXY_CONNECT = "proxy_connect"
    PROXY_URL = "proxy_url"
    DNS_QUESTION = "dns_question"
    NOTHING = "nothing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class SpokenFirst:
    """What has to be said at one port, `through` a proxy if there is one between."""

    at: str
    how: How
    sentence: str
    through: str | None = None


QUIC = SpokenFirst(
    f"udp/{QUIC_PORT}", How.REFUSED, "refused at once: QUIC hides the server name, clients fall back to TCP"
)


def to_name(name: str, entries: Sequence[Entry], door: Destination, walk: Walk) -> SpokenFirst:
    """What a client says that goes for a listed name; `entries` cover it at the door's port."""
    if walk.verdict is not Verdict.ACCEPT or walk.reason is not Reason.LEARNED_ADDRESS:
        return _by_address(door, walk)
    if any(entry.list_id == EXCLUSION_LIST for entry in entries):
        return SpokenFirst(_at(door), How.NOTHING, "nothing has to be named: an exclusion opens it")
    if door.transport is Transport.UDP:
        return SpokenFirst(_at(door), How.NOTHING, f"nothing is named in datagrams: {name}'s address is open")
    if door.port in HTTP_PORTS:
        sentence = f"each request has to name {name} in Host{_paths(entries)}"
        return SpokenFirst(_at(door), How.HTTP_HOST, sentence)
    return SpokenFirst(_at(door), How.TLS_SERVER_NAME, f"the TLS hello has to name {name} (server name, SNI)")


def to_address(names: Sequence[str], entries: Iterable[str], door: Destination, walk: Walk) -> SpokenFirst:
    """What a client says to an address that was learned for these names and entries, or is open otherwise."""
    if walk.verdict is not Verdict.ACCEPT or walk.reason is not Reason.LEARNED_ADDRESS:
        return _by_address(door, walk)
    if any(entry.rpartition("#")[0] == EXCLUSION_LIST for entry in entries):
        return SpokenFirst(_at(door), How.NOTHING, "nothing has to be named: an exclusion opens it")
    shown = ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")
    if door.transport is Transport.UDP:
        return SpokenFirst(_at(door), How.NOTHING, f"nothing is named in datagrams; learned for {shown}")
    listed = f"{shown}, or what else the same entries cover"
    if door.port in HTTP_PORTS:
        return SpokenFirst(_at(door), How.HTTP_HOST, f"each request has to name in Host {listed}")
    sentence = f"the TLS hello has to name (server name, SNI) {listed}"
    return SpokenFirst(_at(door), How.TLS_SERVER_NAME, sentence)


def through_proxies(name: str, ports: Iterable[int], proxies: Sequence[ProxyEndpoint]) -> list[SpokenFirst]:
    """What a client says to a configured proxy that is to reach a listed name for it, by TCP port."""
    between = ", ".join(map(str, proxies))
    return [
        SpokenFirst(f"tcp/{port}", *_asked_of_proxy(name, port), through=between) for port in ports if proxies
    ]


def to_proxy(door: Destination) -> tuple[SpokenFirst, ...]:
    """What a client says to a proxy, whatever it wants there."""
    tunnel = "CONNECT HOST:PORT of a listed host, then a TLS hello that names it"
    page = "the whole URL (http://HOST/...) of a host that is listed for port 80"
    return (
        SpokenFirst(_at(door), How.PROXY_CONNECT, tunnel),
        SpokenFirst(_at(door), How.PROXY_URL, page),
    )


def _asked_of_proxy(name: str, port: int) -> tuple[How, str]:
    if port in HTTP_PORTS:
        return How.PROXY_URL, f"the request has to have the whole URL, http://{name}/..., not CONNECT"
    return How.PROXY_CONNECT, f"CONNECT {name}:{port}, then a TLS hello that names it"


def _by_address(door: Destination, walk: Walk) -> SpokenFirst:
    """Where no name opened the door."""
    if walk.reason is Reason.QUIC_REFUSED:
        return QUIC
    if walk.verdict is Verdict.QUEUE:
        return SpokenFirst(_at(door), How.DNS_QUESTION, "each query has to ask for a listed name")
    if walk.verdict is Verdict.ACCEPT:
        by = f"nothing has to be named: the address is open ({walk.reason.value})"
        return SpokenFirst(_at(door), How.NOTHING, by)
    return SpokenFirst(_at(door), How.REFUSED, f"shut whatever is said ({walk.reason.value})")


def _paths(entries: Sequence[Entry]) -> str:
    paths = [entry.path for entry in entries if entry.path is not None]
    if len(paths) < len(entries):
        return ""
    return f" and ask for {' or '.join(paths[:_FEW])}" + (" or ..." if len(paths) > _FEW else "")


def _at(door: Destination) -> str:
    return f"{door.transport.value}/{door.port}"
