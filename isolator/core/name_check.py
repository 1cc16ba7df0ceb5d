"""Whether what a client names in its first bytes is allowed where it says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Protocol

from isolator.core.doors import NamedEntry
from isolator.model.flow import Address, Destination, Network, Transport
from isolator.model.http import Form, Request
from isolator.model.policy import AllowedNetwork
from isolator.model.tls import Ech, Hello
from isolator.model.verdict import Decision, Reason, Verdict

HTTP_PORTS = frozenset({80})
"""Ports of entries at which HTTP in the clear is spoken; at all others it is TLS."""


class PathEntry(NamedEntry, Protocol):
    """What is read of an allow-list entry here (`allowlists.model.Entry` has it)."""

    @property
    def path(self) -> str | None:
        """The one path that is allowed, with a star at its end every path that begins so; None for all."""
        ...


class PathIndex(Protocol):
    """Finds entries by name (`allowlists.index.Index` is one)."""

    def match(self, name: str, /) -> tuple[PathEntry, ...]:
        """Give the entries that cover a name in lower case."""
        ...


LearnedFor = Callable[[str], bool]
"""Says whether the address of the connection was learned for an entry, by the entry's id."""


@dataclass(frozen=True, slots=True)
class FlowPolicy:
    """What connections are judged by. The default opens nothing.

    `proxies` are the configured proxies; what goes there is judged by the name it asks the proxy for.
    `refuse_ech` refuses also hellos that name an allowed host in the open: a real encrypted hello with such
    an outer name cannot be told from the decoy that browsers send with every hello.
    """

    index: PathIndex | None = None
    networks: Mapping[int, tuple[tuple[Network, str], ...]] = field(default_factory=dict)
    """TCP port to networks and the ids of their entries."""
    proxies: frozenset[tuple[Address, int]] = frozenset()
    unchecked: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """TCP port to the ids of named entries at which something else than TLS or HTTP is spoken, as exclusions
    may: an address learned for one of them is open at that port, whatever is said there."""
    http_ports: frozenset[int] = HTTP_PORTS
    refuse_ech: bool = False

    def entries(self, name: str, port: int) -> tuple[PathEntry, ...]:
        """Give the entries that cover a name at a TCP port."""
        if self.index is None:
            return ()
        return tuple(
            entry
            for entry in self.index.match(name)
            if entry.protocol == Transport.TCP.value and port in entry.ports
        )

    def network_entry(self, address: Address, port: int) -> str | None:
        """Give the id of the entry whose network holds the address at a TCP port."""
        for network, entry in self.networks.get(port, ()):
            if address.version == network.version and address in network:
                return entry
        return None


def networks_by_port(networks: Iterable[AllowedNetwork]) -> dict[int, tuple[tuple[Network, str], ...]]:
    """Give a policy's TCP networks as `FlowPolicy.networks` wants them."""
    found: dict[int, tuple[tuple[Network, str], ...]] = {}
    for each in networks:
        if each.transport is Transport.TCP:
            found[each.port] = (*found.get(each.port, ()), (each.network, each.entry))
    return found


def judge_hello(policy: FlowPolicy, hello: Hello, door: Destination, learned_for: LearnedFor) -> Decision:
    """Judge the hello of a connection to a learned address."""
    if hello.server_name is None:
        return _refuse(Reason.TLS_NAME_MISSING)
    entries = policy.entries(hello.server_name, door.port)
    refused = _refused_name(policy, hello, entries)
    if refused is not None:
        return refused
    for entry in entries:
        if learned_for(entry.id):
            return Decision(Verdict.ACCEPT, Reason.TLS_NAME_ALLOWED, entry.id)
    return _refuse(Reason.TLS_NAME_ELSEWHERE, hello.server_name, entries[0].id)


def judge_tunnel_hello(policy: FlowPolicy, hello: Hello, target: Request) -> Decision:
    """Judge the hello in a tunnel that a proxy was asked for: one entry must cover both names."""
    assert target.port is not None, "CONNECT without a port cannot be read"
    address = _as_address(target.host)
    if address is not None:
        entry = policy.network_entry(address, target.port)
        if entry is not None:
            return Decision(Verdict.ACCEPT, Reason.LISTED_NETWORK, entry)
    if hello.server_name is None:
        return _refuse(Reason.TLS_NAME_MISSING, _target(target))
    entries = policy.entries(hello.server_name, target.port)
    refused = _refused_name(policy, hello, entries)
    if refused is not None:
        return refused
    asked = {entry.id for entry in policy.entries(target.host, target.port)}
    for found in entries:
        if found.id in asked:
            return Decision(Verdict.ACCEPT, Reason.TLS_NAME_ALLOWED, found.id)
    return _refuse(Reason.TLS_NAME_ELSEWHERE, hello.server_name, entries[0].id)


def judge_request(
    policy: FlowPolicy, request: Request, door: Destination, learned_for: LearnedFor
) -> Decision:
    """Judge one HTTP request of a connection to a learned address; a proxy's absolute form is fine too."""
    if request.form is Form.AUTHORITY or request.port not in (None, door.port):
        return _refuse(Reason.HTTP_HOST_NOT_ALLOWED, _target(request))
    entries = policy.entries(request.host, door.port)
    if not entries:
        return _refuse(Reason.HTTP_HOST_NOT_ALLOWED, request.host)
    if not any(learned_for(entry.id) for entry in entries):
        return _refuse(Reason.HTTP_HOST_ELSEWHERE, request.host, entries[0].id)
    return _judge_path(entries, request, Reason.HTTP_HOST_ALLOWED)


def judge_proxy_request(policy: FlowPolicy, request: Request) -> Decision:
    """Judge what a proxy is asked for: a tunnel to a listed host and port, or a page of a port-80 entry.

    A tunnel to a port at which HTTP is spoken in the clear is refused: the absolute form serves there, and
    is judged request by request.
    """
    port = request.port
    if port is None or request.form not in (Form.AUTHORITY, Form.ABSOLUTE):
        return _refuse(Reason.PROXY_REQUEST_REFUSED, _target(request))
    if (request.form is Form.ABSOLUTE) is not (port in policy.http_ports):
        return _refuse(Reason.PROXY_REQUEST_REFUSED, _target(request))
    address = _as_address(request.host)
    network = None if address is None else policy.network_entry(address, port)
    if network is not None:
        return Decision(Verdict.ACCEPT, Reason.PROXY_TARGET_ALLOWED, network)
    entries = policy.entries(request.host, port)
    if not entries:
        return _refuse(Reason.PROXY_TARGET_NOT_ALLOWED, _target(request))
    if request.form is Form.AUTHORITY:
        return Decision(Verdict.ACCEPT, Reason.PROXY_TARGET_ALLOWED, entries[0].id)
    return _judge_path(entries, request, Reason.PROXY_TARGET_ALLOWED)


def path_allowed(pattern: str | None, path: str) -> bool:
    """Say whether a normal path fits an entry's: None fits all, "/x/*" what begins with "/x/"."""
    if pattern is None:
        return True
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _judge_path(entries: tuple[PathEntry, ...], request: Request, reason: Reason) -> Decision:
    for entry in entries:
        if entry.path is None or (not request.doubtful and path_allowed(entry.path, request.path)):
            return Decision(Verdict.ACCEPT, reason, entry.id)
    return _refuse(Reason.HTTP_PATH_NOT_ALLOWED, request.host, entries[0].id)


def _refused_name(policy: FlowPolicy, hello: Hello, entries: tuple[PathEntry, ...]) -> Decision | None:
    hidden = hello.ech is not Ech.ABSENT
    if hidden and (policy.refuse_ech or not entries):
        return _refuse(Reason.TLS_ECH_REFUSED, hello.server_name)
    return None if entries else _refuse(Reason.TLS_NAME_NOT_ALLOWED, hello.server_name)


def _as_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _target(request: Request) -> str:
    """Host and port as they were asked for."""
    host = f"[{request.host}]" if ":" in request.host else request.host
    return host if request.port is None else f"{host}:{request.port}"


def _refuse(reason: Reason, said: str | None = None, entry: str | None = None) -> Decision:
    return Decision(Verdict.REJECT, reason, entry, said)
