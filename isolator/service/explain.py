"""Why a destination is open or shut, from the same rules that the kernel holds."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from allowlists.index import Index
from allowlists.model import Entry
from isolator.core.compiler import QUIC_PORT
from isolator.core.learned_elements import by_set, elements_of
from isolator.core.trace import Walk, trace
from isolator.model.flow import Address, Destination, Hook, LearnedAddress, Packet, Transport
from isolator.model.policy import Policy
from isolator.model.ruleset import ElementKey, Ruleset
from isolator.model.verdict import Reason, Verdict
from isolator.render.nft import rule_text
from isolator.service.destination import Asked
from isolator.service.spoken_first import (
    QUIC,
    How,
    SpokenFirst,
    through_proxies,
    to_address,
    to_name,
    to_proxy,
)

_EPHEMERAL_PORT = 50_000
_DEFAULT_PORT = 443
_STAND_IN = ip_address("240.0.0.1")
"""Stands for addresses that are not known yet: of those reserved for ever (RFC 1112 section 4)."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Verdict for one destination, with everything that led to it."""

    verdict: Verdict
    reason: Reason
    rule: str
    entry: str | None
    pattern: str | None
    sentence: str
    addresses: tuple[str, ...] = ()
    first_bytes: tuple[SpokenFirst, ...] = ()
    """What a connection has to say first, by port; empty where nothing is open to begin with."""


@dataclass(frozen=True, slots=True)
class Rules:
    """An isolation to be asked about: in force, or the one the configuration would give."""

    policy: Policy
    ruleset: Ruleset
    learned: Sequence[LearnedAddress]
    own_addresses: Sequence[Address]
    now: float


def explain(rules: Rules, asked: Asked) -> Explanation:
    """What happens, under these rules, to a new connection of this host to the destination."""
    if asked.address is not None:
        return _explain_address(rules, asked, asked.address)
    return _explain_name(rules, asked, asked.name or "")


def _explain_name(rules: Rules, asked: Asked, name: str) -> Explanation:
    entries = Index(rules.policy.entries).match(name)
    if not entries:
        return Explanation(
            Verdict.REJECT,
            Reason.DNS_NAME_NOT_ALLOWED,
            "gate: a query for a name that no entry covers is answered REFUSED on this host",
            None,
            None,
            f"{name} is on no list in force: its DNS query never leaves the host",
        )
    fitting = [entry for entry in entries if _fits(entry, asked)]
    if not fitting:
        doors = sorted({f"{entry.protocol.value}/{port}" for entry in entries for port in entry.ports})
        return Explanation(
            Verdict.REJECT,
            Reason.NOT_LISTED,
            "filter_output: no set holds this port",
            entries[0].id,
            entries[0].pattern,
            f"{name} is listed, but only for {', '.join(doors)}: {_door(asked)} stays shut",
        )
    return _open_name(rules, asked, name, fitting)


def _open_name(rules: Rules, asked: Asked, name: str, fitting: Sequence[Entry]) -> Explanation:
    entry = fitting[0]
    ways = [_way(rules, name, fitting, door) for door in _doors(asked, fitting)]
    way = next((each for each in ways if each.walk.verdict is Verdict.ACCEPT), ways[0])
    addresses = tuple(sorted({str(address) for each in ways for address in each.addresses}))
    rule = "gate: name allowed, its addresses are learned before the answer is delivered"
    if way.addresses or way.walk.verdict is not Verdict.ACCEPT:
        rule = f"{rule}; then {_rule_shown(rules, way.walk)}"
    return Explanation(
        way.walk.verdict,
        way.walk.reason,
        rule,
        entry.id,
        entry.pattern,
        _name_sentence(name, entry, way, addresses),
        addresses,
        (*(each.first for each in ways), *_other_ways(rules, name, ways)),
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """One port of a listed name: what becomes of a connection there, and what it has to say."""

    door: Destination
    addresses: tuple[Address, ...]
    walk: Walk
    first: SpokenFirst


def _way(rules: Rules, name: str, entries: Sequence[Entry], door: Destination) -> _Way:
    """The walk goes to an address of the name; as long as none is known, to one that stands for it."""
    end = (door.transport, door.port)
    known = tuple(
        each.destination.address
        for each in rules.learned
        if each.name == name and (each.destination.transport, each.destination.port) == end
    )
    here = [entry for entry in entries if door.port in entry.ports]
    if known:
        door = replace(door, address=known[0])
    else:
        stand_in = LearnedAddress(door, name, here[0].id, rules.now + 60)
        rules = replace(rules, learned=(*rules.learned, stand_in))
    walk = _walk(rules, door)
    return _Way(door, known, walk, to_name(name, here, door, walk))


def _doors(asked: Asked, entries: Sequence[Entry]) -> list[Destination]:
    """The ports in question: the one asked for, else those of the entries, each once."""
    ports = [asked.port] if asked.port else dict.fromkeys(port for entry in entries for port in entry.ports)
    return [Destination(_STAND_IN, asked.transport, port) for port in ports]


def _other_ways(rules: Rules, name: str, ways: Sequence[_Way]) -> list[SpokenFirst]:
    """Through a proxy; and that QUIC is no way, where a browser would try it."""
    ports = [each.door.port for each in ways if each.door.transport is Transport.TCP]
    quic = [QUIC] if QUIC_PORT in ports else []
    return [*through_proxies(name, ports, rules.policy.proxies), *quic]


def _name_sentence(name: str, entry: Entry, way: _Way, addresses: Sequence[str]) -> str:
    if way.walk.verdict is not Verdict.ACCEPT:
        port = f"{way.door.transport.value}/{way.door.port}"
        why = f": {QUIC.sentence}" if way.walk.reason is Reason.QUIC_REFUSED else ""
        return f"{name} is listed by entry {entry.id} ({entry.pattern}), but {port} is shut{why}"
    state = f"now {', '.join(addresses)}" if addresses else "no address learned yet, the next query opens it"
    named = way.first.how in (How.TLS_SERVER_NAME, How.HTTP_HOST)
    needed = ", to connections that name it first" if named else ""
    return f"{name} is open by entry {entry.id} ({entry.pattern}){needed}: {state}"


def _explain_address(rules: Rules, asked: Asked, address: Address) -> Explanation:
    door = Destination(address, asked.transport, asked.port or _DEFAULT_PORT)
    walk = _walk(rules, door)
    entry, name = _owner(rules, door) if walk.verdict is Verdict.ACCEPT else (None, None)
    sentence = _sentence(door, walk, entry, name)
    here = [each for each in rules.learned if each.destination == door]
    first = (to_address([each.name for each in here], [each.entry for each in here], door, walk),)
    return Explanation(
        walk.verdict,
        walk.reason,
        _rule_shown(rules, walk),
        entry,
        name,
        sentence,
        first_bytes=to_proxy(door) if walk.reason is Reason.PROXY else first,
    )


def _sentence(door: Destination, walk: Walk, entry: str | None, name: str | None) -> str:
    if walk.verdict is Verdict.ACCEPT and walk.reason is Reason.LEARNED_ADDRESS and entry is not None:
        named = "requests for a Host" if door.port == 80 else "connections with a server name"
        needed = f", to {named} that is listed" if door.transport is Transport.TCP else ""
        return f"{door} is open{needed} ({walk.reason.value}, entry {entry}, {name})"
    if walk.reason is Reason.PROXY:
        return (
            f"{door} is a proxy: open ({walk.reason.value}) to requests for a listed host, CONNECT "
            "HOST:PORT or the whole URL of a page on port 80"
        )
    if walk.verdict is Verdict.ACCEPT:
        return f"{door} is open ({walk.reason.value}" + (f", entry {entry}, {name})" if entry else ")")
    if walk.verdict is Verdict.QUEUE:
        return f"{door} is a resolver: each query is judged by the name it asks for"
    if walk.reason is Reason.QUIC_REFUSED:
        return f"{door} is shut ({walk.reason.value}): QUIC hides the server name, clients fall back to TCP"
    return f"{door} is shut ({walk.reason.value}): no entry opens it, and the sender is told at once"


def _owner(rules: Rules, door: Destination) -> tuple[str | None, str | None]:
    for each in rules.learned:
        if each.destination == door:
            return each.entry, each.name
    for network in rules.policy.networks:
        same = (network.transport, network.port) == (door.transport, door.port)
        if same and network.network.version == door.address.version and door.address in network.network:
            return network.entry, str(network.network)
    return None, None


def _walk(rules: Rules, door: Destination) -> Walk:
    own = {address.version: address for address in rules.own_addresses}
    packet = Packet(
        hook=Hook.OUTPUT,
        source=own.get(door.address.version, door.address),
        destination=door.address,
        protocol=door.transport.value,
        source_port=_EPHEMERAL_PORT,
        destination_port=door.port,
        loopback=door.address.is_loopback or door.address in rules.own_addresses,
        tcp_flags=frozenset({"syn"}) if door.transport is Transport.TCP else frozenset(),
    )
    held: Mapping[str, Container[ElementKey]] = {
        name: frozenset(each.key for each in elements)
        for name, elements in by_set(elements_of(rules.learned, now=rules.now)).items()
    }
    walk = trace(rules.ruleset, packet, held)
    judged = any(each.destination == door for each in rules.learned) or (
        door.transport is Transport.TCP
        and any((each.address, each.port) == (door.address, door.port) for each in rules.policy.proxies)
    )
    if walk.verdict is not Verdict.QUEUE or not judged:
        return walk
    return trace(rules.ruleset, packet, held, gate=Verdict.ACCEPT)


def _rule_shown(rules: Rules, walk: Walk) -> str:
    if walk.rule is None:
        return f"{walk.chain}: policy drop"
    return f"{walk.chain}: {rule_text(walk.rule, rules.ruleset.queue_number)}"


def _fits(entry: Entry, asked: Asked) -> bool:
    return entry.protocol.value == asked.transport.value and (asked.port is None or asked.port in entry.ports)


def _door(asked: Asked) -> str:
    return f"{asked.transport.value}/{asked.port}" if asked.port else asked.transport.value
