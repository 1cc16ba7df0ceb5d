"""A packet's walk through a ruleset: the same judgement the kernel makes, on values.

`isolator explain`, the check of the control channel before a commit and the choice of flows to
end all ask here, so what is explained is what is enforced.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace

from isolator.model.flow import Address, Destination, Packet, Transport
from isolator.model.ruleset import (
    Action,
    AddressIn,
    AddressInSet,
    AnyFlag,
    AnyPortIs,
    Approved,
    Bare,
    Carries,
    Chain,
    Connecting,
    ElementKey,
    EmbeddedInSet,
    EndInSet,
    FirstAck,
    FlowApproved,
    FlowInSet,
    Forget,
    Fragment,
    HopLimitIs,
    IcmpIs,
    Jump,
    Known,
    LengthAbove,
    LengthAtMost,
    Loopback,
    Match,
    NetworkKey,
    NextHopIn,
    NotConnecting,
    OnlyAck,
    PortIs,
    PortIsNone,
    Remember,
    Rule,
    RuleAction,
    Ruleset,
    Side,
    ToThisHost,
    TransportIs,
    UidIs,
    VersionIs,
    Whole,
)
from isolator.model.segment import FlowKey
from isolator.model.verdict import Reason, Verdict


@dataclass(frozen=True, slots=True)
class Walk:
    """Where the walk ended: verdict, counted reason, and the rule that decided (chain, position)."""

    verdict: Verdict
    reason: Reason
    chain: str = ""
    position: int = 0
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class SetContents:
    """What the sets hold: the ruleset's own elements plus what was learned since."""

    ruleset: Ruleset
    learned: Mapping[str, Container[ElementKey]]
    flows: Container[FlowKey] = ()

    def holds_end(self, name: str, door: Destination) -> bool:
        """Is (address, transport, port) in the set, directly or within a network?"""
        if door in self.learned.get(name, ()):
            return True
        return any(_covers(element.key, door) for element in self.ruleset.contents.get(name, ()))

    def holds_address(self, name: str, address: Address) -> bool:
        """Is the address in the set?"""
        if address in self.learned.get(name, ()):
            return True
        return any(element.key == address for element in self.ruleset.contents.get(name, ()))


def _covers(key: ElementKey, door: Destination) -> bool:
    if isinstance(key, NetworkKey):
        return (
            key.port == door.port
            and key.transport is door.transport
            and key.network.version == door.address.version
            and door.address in key.network
        )
    return key == door


def trace(
    ruleset: Ruleset,
    packet: Packet,
    learned: Mapping[str, Container[ElementKey]] | None = None,
    *,
    gate: Verdict | None = None,
    flows: Container[FlowKey] = (),
) -> Walk:
    """Walk every base chain of the packet's hook in order of priority.

    `flows` are the approved ones. `gate` is what the packet gate says when a rule queues the packet: None
    ends the walk with verdict queue, ACCEPT goes on with the gate's mark, DROP drops.
    """
    contents = SetContents(ruleset, learned or {}, flows)
    base = sorted(
        (chain for chain in ruleset.chains if chain.hook is packet.hook), key=lambda chain: chain.priority
    )
    last: Walk | None = None
    for chain in base:
        walk, packet = _walk_chain(contents, chain, packet)
        if walk is not None and walk.verdict is Verdict.QUEUE and gate is Verdict.ACCEPT:
            packet = replace(packet, approved=True, known=False)
            continue
        if walk is not None and walk.verdict is Verdict.QUEUE and gate is Verdict.DROP:
            return replace(walk, verdict=Verdict.DROP)
        if walk is None:
            return Walk(Verdict.DROP, Reason.NOT_LISTED, chain.name, len(chain.rules))
        if walk.verdict is not Verdict.ACCEPT:
            return walk
        last = walk
    return last or Walk(Verdict.ACCEPT, Reason.NOT_ISOLATED)


def _walk_chain(contents: SetContents, chain: Chain, packet: Packet) -> tuple[Walk | None, Packet]:
    for position, rule in enumerate(chain.rules):
        if not all(_holds(contents, match, packet) for match in rule.matches):
            continue
        if isinstance(rule.action, Jump):
            walk, packet = _walk_chain(contents, contents.ruleset.chain(rule.action.chain), packet)
            if walk is not None:
                return walk, packet
        elif rule.action in _MARKS:
            approved, known = _MARKS[rule.action]
            packet = replace(packet, approved=approved, known=known)
        elif not isinstance(rule.action, Remember | Forget):
            verdict = rule.action.verdict
            assert verdict is not None  # only the two actions above have none
            reason = rule.reason or _UNTOLD.get(rule.action, Reason.NOT_ISOLATED)
            return Walk(verdict, reason, chain.name, position, rule), packet
    return None, packet


_MARKS: Mapping[RuleAction, tuple[bool, bool]] = {
    Action.CLEAR_MARK: (False, False),
    Action.SET_MARK: (True, False),
    Action.SET_KNOWN: (False, True),
}
"""What an action makes of the gate's mark and the one of known connections."""

_UNTOLD = {Action.QUEUE: Reason.DNS_UNJUDGED, Action.QUEUE_FLOW: Reason.FLOW_UNJUDGED}
"""Reasons of rules that count none."""


def _holds(contents: SetContents, match: Match, packet: Packet) -> bool:
    match match:
        case Loopback() | ToThisHost():
            return packet.loopback
        case EndInSet(side, name, version):
            door = _end(packet, side, version)
            return door is not None and contents.holds_end(name, door)
        case AddressInSet(side, name, version):
            address = _address(packet, side)
            return address.version == version and contents.holds_address(name, address)
        case AddressIn(side, network):
            address = _address(packet, side)
            return address.version == network.version and address in network
        case NextHopIn(network):
            hop = packet.gateway or packet.destination
            return hop.version == network.version and hop in network
        case PortIs(transport, side, port):
            return packet.protocol == transport.value and _port(packet, side) == port
        case PortIsNone(transport, side, ports):
            return packet.protocol == transport.value and _port(packet, side) not in ports
        case AnyPortIs(side, port):
            return _port(packet, side) == port
        case TransportIs(transport):
            return packet.protocol == transport.value
        case VersionIs(version):
            return packet.source.version == version
        case Fragment(version):
            return packet.fragment and packet.source.version == version
        case Carries(extra):
            return extra.value in packet.extras
        case Whole(version):
            return not packet.fragment and packet.source.version == version
        case Bare(version, transport):
            plain = version == 4 or (packet.protocol == transport.value and not packet.fragment)
            return plain and not packet.extras and packet.source.version == version
        case NotConnecting():
            return packet.protocol == "tcp" and packet.tcp_flags & {"syn", "ack"} != {"syn"}
        case Connecting():
            return packet.protocol == "tcp" and packet.tcp_flags & {"syn", "ack"} == {"syn"}
        case AnyFlag(flags):
            return packet.protocol == "tcp" and not packet.tcp_flags.isdisjoint(flags)
        case OnlyAck(pushed):
            return packet.protocol == "tcp" and packet.tcp_flags == ({"psh", "ack"} if pushed else {"ack"})
        case FlowInSet(_, version):
            flow = _flow(packet, version)
            return flow is not None and flow in contents.flows
        case Approved():
            return packet.approved
        case Known():
            return packet.known
        case FlowApproved() | FirstAck():
            return False  # what the first does is for the packets behind this one; the other is one of a kind
        case _:
            return _holds_detail(contents, match, packet)


def _holds_detail(
    contents: SetContents,
    match: IcmpIs | EmbeddedInSet | HopLimitIs | LengthAtMost | LengthAbove | UidIs,
    packet: Packet,
) -> bool:
    match match:
        case IcmpIs(version, types, code):
            protocol = "icmp" if version == 4 else "icmpv6"
            typed = packet.protocol == protocol and packet.icmp_type in types
            return typed and code in (None, packet.icmp_code)
        case EmbeddedInSet(name, version):
            inner = packet.embedded
            return inner is not None and inner.version == version and contents.holds_address(name, inner)
        case HopLimitIs(value):
            return packet.source.version == 6 and packet.hop_limit == value
        case LengthAtMost(value):
            return packet.length <= value
        case LengthAbove(value):
            return packet.length > value
        case _:
            return packet.uid == match.uid


def _address(packet: Packet, side: Side) -> Address:
    return packet.source if side is Side.SOURCE else packet.destination


def _port(packet: Packet, side: Side) -> int | None:
    return packet.source_port if side is Side.SOURCE else packet.destination_port


def _end(packet: Packet, side: Side, version: int) -> Destination | None:
    address, port = _address(packet, side), _port(packet, side)
    if address.version != version or port is None or packet.protocol not in ("tcp", "udp"):
        return None
    return Destination(address, Transport(packet.protocol), port)


def _flow(packet: Packet, version: int) -> FlowKey | None:
    ports = packet.source_port, packet.destination_port
    if packet.protocol != "tcp" or packet.source.version != version or None in ports:
        return None
    return FlowKey(packet.source, ports[0] or 0, packet.destination, ports[1] or 0)
