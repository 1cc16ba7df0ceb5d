"""Which controls tell a failure from its twins; nothing is asked for a row that is well, but its own extras.

Every control is one or a few packets to one host. The runner carries them out, at most once each, inside
the row's deadline; those that are `shared` once a run, those that are `alone` one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from connectivity_check.core.facts import addresses_of, number, of, text
from connectivity_check.core.ip_text import ip_of
from connectivity_check.core.known import Passing
from connectivity_check.failure import Seen
from connectivity_check.model import Kind, Observation, ProxyServer, Role, Step, Target

UNROUTABLE = "192.0.2.1"
"""TEST-NET-1 (RFC 5737): no network has it, so who answers for it answers for everybody."""
PORTAL_HOST = "www.msftconnecttest.com"
"""The host of the connectivity test page, /connecttest.txt on port 80, whose body is known."""
DEFAULT_CONTROL = "www.microsoft.com"
"""The server name of last resort, when no row of the run passes."""
SMALL_MSS = 536
"""What every path can carry (RFC 9293 section 3.7.1)."""
BODY_BYTES = 65536


class Ask(StrEnum):
    """What a control does."""

    RESOLVE = "resolve"
    LOOK_UP = "look_up"
    CONNECT = "connect"
    HANDSHAKE = "handshake"
    REQUEST = "request"
    HOPS = "hops"
    DISTANCE = "distance"
    TUNNEL = "tunnel"
    CHAIN = "chain"
    """Everything again by another way."""


@dataclass(frozen=True, slots=True)
class Control:
    """One thing to try. `name` is what is asked for (DNS name, server name, host of a tunnel)."""

    role: Role
    ask: Ask
    name: str = ""
    address: str = ""
    port: int = 443
    server: str = ""
    tcp: bool = False
    mss: int | None = None
    variant: str = "normal"
    proxy: ProxyServer | None = None
    tunnel_to: str = ""
    """With a proxy: the host of the tunnel, when it is not `name`."""
    body_size: int = 0
    range: str = ""
    linger: bool = False
    shared: bool = False
    alone: bool = False
    nth: int = 1
    """Tells tries apart that are otherwise the same."""


@dataclass(frozen=True, slots=True)
class Means:
    """What there is to hold a failure against."""

    resolvers: tuple[str, ...] = ()
    """The resolvers in use, then the one for controls, if any."""
    control_proxy: ProxyServer | None = None
    other_proxies: tuple[ProxyServer, ...] = ()
    """Proxies that other rows go through, or that are configured but not used for this row."""
    random_label: str = ""
    """Twelve random letters, the same for the whole run."""


def wanted(target: Target, seen: Sequence[Observation], known: Passing, means: Means) -> tuple[Control, ...]:
    """Give the controls for a row as far as it has come; asked again when they are done."""
    return tuple(_wanted(target, seen, known, means))


def _wanted(target: Target, seen: Sequence[Observation], known: Passing, means: Means) -> Iterator[Control]:
    failed = failing(seen)
    if failed is None:
        yield from _of_healthy(target, seen, known, means)
        return
    if failed.step is Step.RESOLVE:
        yield from _of_resolve(target, seen, failed, means)
    elif failed.step is Step.CONNECT and not failed.via:
        yield from _of_connect(target, seen, failed, known)
        yield from _of_addresses(target, seen, means)
    elif failed.step is Step.PROXY_CONNECT or (failed.via and failed.step is Step.HTTP_ROUND_TRIP):
        yield from _of_proxy(target, seen, failed, known)
    elif failed.step is Step.TLS_HANDSHAKE:
        yield from _of_tls(target, seen, failed, known)
        yield from _of_addresses(target, seen, means)
    if failed.step is not Step.RESOLVE and not failed.via:
        yield Control(Role.PORTAL, Ask.REQUEST, name=PORTAL_HOST, port=80, shared=True)
    yield from _other_ways(target, failed, means)


def failing(seen: Sequence[Observation]) -> Observation | None:
    """Give the observation that ended the chain: the first failed step of which no try succeeded.

    Of several addresses that failed, the one with the most telling end: an ICMP error says more than
    silence.
    """
    for step in Step:
        tries = of(seen, step)
        if tries and not any(each.ok for each in tries):
            return max(tries, key=_telling)
    return None


def _telling(observation: Observation) -> tuple[bool, bool, bool]:
    return (
        "icmp" in observation.evidence,
        observation.seen not in (Seen.TIMEOUT, Seen.NETWORK_UNREACHABLE),
        observation.evidence.get("family") == 4,
    )


def _of_healthy(
    target: Target, seen: Sequence[Observation], known: Passing, means: Means
) -> Iterator[Control]:
    """A row that is well: what else its clients do, and whether the rule covers more than the sample."""
    host, expectation = target.host or "", target.expectation
    if expectation.kind is Kind.OPAQUE and target.route.proxy is None and of(seen, Step.CONNECT):
        yield Control(Role.UNROUTABLE, Ask.CONNECT, address=UNROUTABLE, port=target.port, shared=True)
    if not any(each.step.order >= Step.TLS_HANDSHAKE.order for each in seen):
        return
    address = peer(seen)
    same = Control(
        Role.ALPN, Ask.HANDSHAKE, name=host, address=address, port=target.port, proxy=target.route.proxy
    )
    if expectation.h2:
        yield replace(same, variant="h2")
    if expectation.upload:
        yield from _twice(seen, replace(same, role=Role.BODY, ask=Ask.REQUEST, body_size=BODY_BYTES))
    if expectation.ranges:
        yield from _twice(seen, replace(same, role=Role.RANGE, ask=Ask.REQUEST, range="bytes=0-0"))
    if target.wildcard and target.tls and means.random_label:
        label = f"{means.random_label}.{target.wildcard}"
        if target.route.proxy:
            yield Control(
                Role.RANDOM_LABEL, Ask.TUNNEL, name=label, port=target.port, proxy=target.route.proxy
            )
        else:
            yield from _twice(seen, replace(same, role=Role.RANDOM_LABEL, name=label))
            control = known.control_for(target)
            if control and any(not each.ok for each in of(seen, Step.TLS_HANDSHAKE, Role.RANDOM_LABEL)):
                yield replace(same, role=Role.CONTROL_SNI, name=control.host)
    slow = [each for each in of(seen, Step.CONNECT) if each.ok and number(each, "syns", 1) > 1]
    if slow and not target.route.proxy:
        where = text(slow[0], "address")
        yield Control(Role.RETRY, Ask.CONNECT, address=where, port=target.port, alone=True)


def _twice(seen: Sequence[Observation], control: Control) -> Iterator[Control]:
    """Ask, and ask again when it failed: one lost packet must not accuse anybody."""
    yield control
    if any(not each.ok for each in seen if each.role is control.role):
        yield replace(control, nth=2)


def peer(seen: Sequence[Observation]) -> str:
    """Give the address the chain went on with."""
    for step in (Step.TLS_HANDSHAKE, Step.HTTP_ROUND_TRIP, Step.REVOCATION, Step.CONNECT):
        for each in of(seen, step):
            address = each.evidence.get("address")
            if isinstance(address, str) and (each.ok or step is not Step.CONNECT):
                return address
    return ""


def _of_resolve(
    target: Target, seen: Sequence[Observation], failed: Observation, means: Means
) -> Iterator[Control]:
    name = str(failed.evidence.get("name") or target.host)
    if failed.seen is Seen.TIMEOUT:
        yield Control(Role.DNS_TCP, Ask.RESOLVE, name=name, tcp=True)
    else:
        yield Control(Role.RETRY, Ask.RESOLVE, name=name, linger=True)
    yield Control(Role.UNROUTABLE, Ask.RESOLVE, name=name, server=UNROUTABLE)
    yield from _second_opinion(name, failed, means)
    if not of(seen, Step.RESOLVE, Role.GETADDRINFO):
        yield Control(Role.GETADDRINFO, Ask.LOOK_UP, name=name)


def _second_opinion(name: str, asked: Observation, means: Means) -> Iterator[Control]:
    used = asked.evidence.get("resolver")
    other = [each for each in means.resolvers if each != used]
    if other:
        yield Control(Role.OTHER_RESOLVER, Ask.RESOLVE, name=name, server=other[-1])


def _of_addresses(target: Target, seen: Sequence[Observation], means: Means) -> Iterator[Control]:
    """The addresses themselves may be wrong: ask elsewhere, then try what is answered there."""
    asked = next((each for each in of(seen, Step.RESOLVE) if each.ok), None)
    name = target.host or ""
    if asked is None or asked.evidence.get("transport") == "literal":
        return
    yield from _second_opinion(name, asked, means)
    yield Control(Role.RETRY, Ask.RESOLVE, name=name, linger=True)
    given = set(addresses_of(asked))
    for other in (*of(seen, Step.RESOLVE, Role.OTHER_RESOLVER), *of(seen, Step.RESOLVE, Role.RETRY)):
        fresh = [each for each in addresses_of(other) if each not in given and is_global(each)]
        if fresh and target.tls:
            role = Role.OTHER_RESOLVER
            yield Control(role, Ask.HANDSHAKE, name=name, address=fresh[0], port=target.port)
            return


def is_global(address: str) -> bool:
    """Whether an address can be a server of the public internet."""
    value = ip_of(address)
    return value is not None and value.is_global


def _of_connect(
    target: Target, seen: Sequence[Observation], failed: Observation, known: Passing
) -> Iterator[Control]:
    address = str(failed.evidence.get("address", ""))
    other_port = 80 if target.port != 80 else 443
    if failed.seen is Seen.TIMEOUT:
        yield Control(Role.RETRY, Ask.CONNECT, address=address, port=target.port, alone=True)
        yield Control(Role.OTHER_PORT, Ask.CONNECT, address=address, port=other_port)
        yield Control(Role.HOPS, Ask.HOPS, address=address, port=target.port)
    elif failed.seen is Seen.CONNECTION_REFUSED and "icmp" not in failed.evidence:
        yield Control(Role.OTHER_PORT, Ask.CONNECT, address=address, port=other_port)
        yield Control(Role.TTL, Ask.DISTANCE, address=address, port=target.port)
        other = of(seen, Step.CONNECT, Role.OTHER_PORT)
        if other and other[0].ok:
            yield Control(Role.TTL, Ask.DISTANCE, address=address, port=other_port)
        elif other:
            control = known.control_for(target)
            if control and control.address:
                yield Control(Role.TTL, Ask.DISTANCE, address=control.address, port=control.port)
        if other:
            yield Control(Role.HOPS, Ask.HOPS, address=address, port=target.port)


def _of_proxy(
    target: Target, seen: Sequence[Observation], failed: Observation, known: Passing
) -> Iterator[Control]:
    proxy, host = target.route.proxy, target.host or ""
    control = known.control_for(target, failed.via)
    name = control.host if control else DEFAULT_CONTROL
    yield Control(Role.CONTROL_NAME, Ask.TUNNEL, name=name, port=443, proxy=proxy)
    if target.port not in (80, 443):
        yield Control(Role.OTHER_PORT, Ask.TUNNEL, name=host, port=443, proxy=proxy)
    if failed.seen in (Seen.PROXY_STATUS, Seen.TIMEOUT, Seen.HTTP_STATUS):
        yield Control(Role.ALTERNATE, Ask.RESOLVE, name=host)
        # The same host by address: a proxy that cannot look the name up can still connect.
        here = [each for each in of(seen, Step.RESOLVE, Role.ALTERNATE) if each.ok and addresses_of(each)]
        if here and target.tls:
            address = addresses_of(here[0])[0]
            yield Control(Role.GOOD_ADDRESS, Ask.TUNNEL, name=address, port=target.port, proxy=proxy)


def _of_tls(
    target: Target, seen: Sequence[Observation], failed: Observation, known: Passing
) -> Iterator[Control]:
    host, proxy = target.host or "", target.route.proxy
    address = str(failed.evidence.get("address", ""))
    silent = failed.seen is Seen.TIMEOUT
    if failed.evidence.get("chain"):
        return
    control = known.control_for(target, failed.via)
    name = control.host if control else DEFAULT_CONTROL
    same = Control(
        Role.TLS12, Ask.HANDSHAKE, name=host, address=address, port=target.port, proxy=proxy,
        tunnel_to=host if proxy else "", variant="tls12",
    )  # fmt: skip
    if failed.seen in (Seen.TIMEOUT, Seen.CONNECTION_RESET, Seen.EOF):
        yield replace(same, role=Role.CONTROL_SNI, name=name, variant="normal")
        yield replace(same, role=Role.RETRY, variant="normal")
        yield replace(same, role=Role.RETRY, variant="normal", nth=2)
        if control and not proxy:
            yield Control(
                Role.GOOD_ADDRESS, Ask.HANDSHAKE, name=host, address=control.address, port=target.port
            )
    if silent and not proxy:
        yield replace(same, role=Role.SMALL_MSS, mss=SMALL_MSS, variant="normal")
        yield Control(Role.UNROUTABLE, Ask.CONNECT, address=UNROUTABLE, port=target.port, shared=True)
    if failed.seen is not Seen.NOT_TLS:
        yield same
        if not silent:
            yield replace(same, role=Role.TLS_LEGACY, variant="legacy")


def _other_ways(target: Target, failed: Observation, means: Means) -> Iterator[Control]:
    host = target.host or ""
    if target.route.proxy is None:
        for proxy in means.other_proxies[:1]:
            yield Control(Role.ALTERNATE, Ask.CHAIN, name=host, port=target.port, proxy=proxy)
    elif failed.step is not Step.RESOLVE or failed.via:
        yield Control(Role.ALTERNATE, Ask.CHAIN, name=host, port=target.port)
    if means.control_proxy:
        yield Control(Role.CONTROL_PATH, Ask.CHAIN, name=host, port=target.port, proxy=means.control_proxy)
