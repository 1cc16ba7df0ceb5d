"""The kernel's rules as values: what the compiler makes, `trace` walks, `render` writes and `drift` compares.

The vocabulary is small on purpose: every match here can be rendered, listed back and traced,
and nothing else can be said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv6Network

from isolator.model.flow import Address, Destination, Hook, Network, Transport
from isolator.model.verdict import Reason, Verdict

TABLE = "isolator"
"""Name of our one table, family inet. No other table is ever written."""

APPROVED_BIT = 0x0010_0000
"""Packet mark bit of what the gate approved, or of a flow it approved earlier; cleared on arrival.

Neighbours that use marks: kube-proxy 0x4000/0x8000, Tailscale 0x40000/0x80000, Calico 0xffff0000 by
default. We touch only this bit and the next, only on port 53 and on TCP packets that leave.
"""

FLOW_BIT = 0x0020_0000
"""Packet mark bit with which the gate says that all of the packet's connection is approved.

By itself it is the rules' own: the packet is one of a connection that was approved earlier.
"""


class SetKind(Enum):
    """Key of a set; the value is its nft type."""

    DESTINATION4 = "ipv4_addr . inet_proto . inet_service"
    DESTINATION6 = "ipv6_addr . inet_proto . inet_service"
    ADDRESS4 = "ipv4_addr"
    ADDRESS6 = "ipv6_addr"
    EMBEDDED4 = "typeof @th,192,32"
    EMBEDDED6 = "typeof @th,256,128"
    FLOW4 = "ipv4_addr . inet_service . ipv4_addr . inet_service"
    FLOW6 = "ipv6_addr . inet_service . ipv6_addr . inet_service"

    @property
    def version(self) -> int:
        """IP version of the addresses in it."""
        return 6 if self.name.endswith("6") else 4


@dataclass(frozen=True, slots=True)
class NetworkKey:
    """A range of addresses at one port: the element of an interval set."""

    network: Network
    transport: Transport
    port: int


ElementKey = Destination | NetworkKey | Address


@dataclass(frozen=True, slots=True)
class Element:
    """One set element; `timeout_s` None means it stays until deleted.

    The kernel keeps `comment` as it came with the element: adding one that is there leaves it alone.
    """

    key: ElementKey
    timeout_s: int | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class AddressSet:
    """A named set. `timed`: elements may expire. `interval`: elements may be networks.

    `room`: how many elements packets may put there by themselves; 0 for a set that only we write.
    `sweep_s`: how often the kernel frees what has expired, in seconds, 0 for its own second. An expired
    element is found no more at once; sweeping only gives back its room, and walks the whole set for that.
    """

    name: str
    kind: SetKind
    timed: bool = False
    interval: bool = False
    room: int = 0
    sweep_s: int = 0


class Side(Enum):
    """Which end of the packet a match looks at."""

    SOURCE = "s"
    DESTINATION = "d"


@dataclass(frozen=True, slots=True)
class Loopback:
    """The packet uses the loopback interface (by index, so that renaming another to `lo` does not help)."""

    hook: Hook


@dataclass(frozen=True, slots=True)
class EndInSet:
    """(address, transport, port) of one end is an element of a destination set."""

    side: Side
    set_name: str
    version: int


@dataclass(frozen=True, slots=True)
class AddressInSet:
    """Address of one end is an element of an address set."""

    side: Side
    set_name: str
    version: int


@dataclass(frozen=True, slots=True)
class AddressIn:
    """Address of one end lies in a network written into the rule."""

    side: Side
    network: Network


@dataclass(frozen=True, slots=True)
class NextHopIn:
    """Next hop of an outgoing IPv6 packet: the gateway, or the destination itself when it is on the link."""

    network: IPv6Network


@dataclass(frozen=True, slots=True)
class PortIs:
    """Transport and port of one end."""

    transport: Transport
    side: Side
    port: int


@dataclass(frozen=True, slots=True)
class PortIsNone:
    """One end of a packet of that transport has none of these ports."""

    transport: Transport
    side: Side
    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AnyPortIs:
    """Port of one end, whatever the transport: cheaper than two rules, and nothing to decide by.

    Protocols without ports match by whatever bytes stand at their place.
    """

    side: Side
    port: int


@dataclass(frozen=True, slots=True)
class TransportIs:
    """Transport protocol, any port."""

    transport: Transport


@dataclass(frozen=True, slots=True)
class VersionIs:
    """IP version of the packet."""

    version: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """One piece of a fragmented packet (RFC 791 section 3.1, RFC 8200 section 4.5).

    The kernel reads ports in a later piece from whatever bytes stand there (IPv4), or from the IPv6
    header itself, so a piece can pose as any door: match this before any port.
    """

    version: int


@dataclass(frozen=True, slots=True)
class ToThisHost:
    """The destination is an address of this host, by the routing tables.

    After somebody's destination NAT a packet to a loopback address is on its way elsewhere, and hooks still
    see the loopback interface as its way out.
    """


class Extra(Enum):
    """What a packet may carry between its IP header and the transport's; the names of IPv6 are nft's."""

    OPTIONS = "options"
    """IPv4 (RFC 791 section 3.1)."""
    HOP_BY_HOP = "hbh"
    DESTINATION = "dst"
    ROUTING = "rt"
    """IPv6 (RFC 8200 section 4)."""


@dataclass(frozen=True, slots=True)
class Carries:
    """Has such a thing, which no service needs: it is room for data, and a routing header leads elsewhere."""

    extra: Extra


@dataclass(frozen=True, slots=True)
class Whole:
    """Not a piece: the opposite of `Fragment`, for rules on the hot path that must not wait for its rules."""

    version: int


@dataclass(frozen=True, slots=True)
class Bare:
    """The transport's header stands right behind an IP header without anything extra.

    IPv4: no options, whatever the transport (a piece of a packet may match). IPv6: no extension header, so no
    piece either.
    """

    version: int
    transport: Transport = Transport.UDP


@dataclass(frozen=True, slots=True)
class NotConnecting:
    """A TCP segment other than a bare SYN: it cannot open a connection (RFC 9293, section 3.5)."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """A bare SYN: the opposite of `NotConnecting` among TCP segments."""


@dataclass(frozen=True, slots=True)
class AnyFlag:
    """A TCP segment with one of these flags at least; nft's names, in its order."""

    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnlyAck:
    """A TCP segment whose one flag is ACK, or with `pushed` ACK and PSH: all that is sent in bulk."""

    pushed: bool = False


@dataclass(frozen=True, slots=True)
class FirstAck:
    """An empty acknowledgement of a connection in a set of flows: no data, nothing between its headers.

    `timestamps`: with the TCP option that is usual there and no other (RFC 7323 section 3), or without any.
    Lengths tell, so another option of the same length passes for it.
    """

    set_name: str
    version: int
    timestamps: bool


@dataclass(frozen=True, slots=True)
class FlowInSet:
    """(source, port, destination, port) of a TCP segment is an element of a set of flows."""

    set_name: str
    version: int


@dataclass(frozen=True, slots=True)
class Approved:
    """The gate's mark is on the packet."""


@dataclass(frozen=True, slots=True)
class Known:
    """The packet is one of a connection that was approved before: the gate has not seen it."""


@dataclass(frozen=True, slots=True)
class FlowApproved:
    """The gate has just marked the packet as one of a connection that is approved as a whole."""


@dataclass(frozen=True, slots=True)
class IcmpIs:
    """ICMP (version 4) or ICMPv6 (6) type, and code when given."""

    version: int
    types: tuple[int, ...]
    code: int | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedInSet:
    """Destination inside an ICMP error is an element of an embedded-address set."""

    set_name: str
    version: int


@dataclass(frozen=True, slots=True)
class HopLimitIs:
    """IPv6 hop limit; 255 proves that a neighbour sent it (RFC 4861, section 7.1)."""

    value: int


@dataclass(frozen=True, slots=True)
class LengthAtMost:
    """IP length in bytes, so that a control message cannot carry data."""

    value: int


@dataclass(frozen=True, slots=True)
class LengthAbove:
    """IP length in bytes, before segmentation: what is larger than a frame is one of many."""

    value: int


@dataclass(frozen=True, slots=True)
class UidIs:
    """Owner of the local socket; narrows a rule, never opens one by itself."""

    uid: int


Match = (
    Loopback
    | ToThisHost
    | EndInSet
    | AddressInSet
    | AddressIn
    | NextHopIn
    | PortIs
    | PortIsNone
    | AnyPortIs
    | TransportIs
    | VersionIs
    | Fragment
    | Carries
    | Whole
    | Bare
    | NotConnecting
    | Connecting
    | AnyFlag
    | OnlyAck
    | FirstAck
    | FlowInSet
    | Approved
    | Known
    | FlowApproved
    | IcmpIs
    | EmbeddedInSet
    | HopLimitIs
    | LengthAtMost
    | LengthAbove
    | UidIs
)


class Action(Enum):
    """What a rule does besides counting."""

    ACCEPT = "accept"
    DROP = "drop"
    RESET = "reject with tcp reset"
    UNREACHABLE = "reject with icmpx admin-prohibited"
    PORT_UNREACHABLE = "reject with icmpx port-unreachable"
    CLEAR_MARK = "clear mark"
    SET_MARK = "set mark"
    SET_KNOWN = "set the mark of known connections"
    QUEUE = "queue"
    QUEUE_FLOW = "queue flow"
    """To the queue of connections, whose number is the ruleset's plus one."""

    @property
    def verdict(self) -> Verdict | None:
        """The verdict that ends the walk, or None for an action that goes on."""
        return _VERDICTS.get(self)


_VERDICTS = {
    Action.ACCEPT: Verdict.ACCEPT,
    Action.DROP: Verdict.DROP,
    Action.RESET: Verdict.REJECT,
    Action.UNREACHABLE: Verdict.REJECT,
    Action.PORT_UNREACHABLE: Verdict.REJECT,
    Action.QUEUE: Verdict.QUEUE,
    Action.QUEUE_FLOW: Verdict.QUEUE,
}


@dataclass(frozen=True, slots=True)
class Jump:
    """Walk another (regular) chain, then go on with the next rule."""

    chain: str


@dataclass(frozen=True, slots=True)
class Remember:
    """Put the packet's flow into a set of flows, or have it stay there for that long from now; go on."""

    set_name: str
    version: int
    timeout_s: int


@dataclass(frozen=True, slots=True)
class Forget:
    """Take the packet's flow out of a set of flows; go on."""

    set_name: str
    version: int


RuleAction = Action | Jump | Remember | Forget


@dataclass(frozen=True, slots=True)
class Rule:
    """All matches hold -> count `reason` when given, then act."""

    matches: tuple[Match, ...]
    action: RuleAction
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; with a hook it is a base chain with policy drop."""

    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything our table holds while isolated, apart from what is learned later."""

    sets: tuple[AddressSet, ...]
    chains: tuple[Chain, ...]
    contents: Mapping[str, tuple[Element, ...]] = field(default_factory=dict)
    queue_number: int = 0

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Each reason that some rule counts, once, in order of first use."""
        seen = dict.fromkeys(rule.reason for chain in self.chains for rule in chain.rules if rule.reason)
        return tuple(seen)

    def chain(self, name: str) -> Chain:
        """The chain of that name; KeyError when there is none."""
        for chain in self.chains:
            if chain.name == name:
                return chain
        raise KeyError(name)


# A transaction is a list of these; it commits whole or not at all.


@dataclass(frozen=True, slots=True)
class AddTable:
    """Make the table; no error when it is there."""


@dataclass(frozen=True, slots=True)
class DeleteTable:
    """Remove the table and all in it; an error when it is not there."""


@dataclass(frozen=True, slots=True)
class AddSet:
    """Make a set; no error when an equal one is there."""

    spec: AddressSet


@dataclass(frozen=True, slots=True)
class AddCounter:
    """Make a named counter; an existing one keeps its numbers."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class AddChain:
    """Make a chain, without rules. `accepting` gives a base chain the policy accept instead of drop."""

    chain: Chain
    accepting: bool = False


@dataclass(frozen=True, slots=True)
class FlushChain:
    """Remove a chain's rules."""

    name: str


@dataclass(frozen=True, slots=True)
class AddRule:
    """Append a rule."""

    chain: str
    rule: Rule
    queue_number: int = 0


@dataclass(frozen=True, slots=True)
class AcceptFirst:
    """Insert an unconditional accept ahead of a chain's rules."""

    chain: str


@dataclass(frozen=True, slots=True)
class AddElements:
    """Add elements. A timed element that is there keeps the kernel's rule for it (see the backend)."""

    spec: AddressSet
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class DeleteElements:
    """Delete elements; an error when one is not there."""

    spec: AddressSet
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class FlushSet:
    """Remove every element of a set."""

    spec: AddressSet


Operation = (
    AddTable
    | DeleteTable
    | AddSet
    | AddCounter
    | AddChain
    | FlushChain
    | AddRule
    | AcceptFirst
    | AddElements
    | DeleteElements
    | FlushSet
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """Operations that take effect together; `purpose` is for logs and errors."""

    purpose: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class ObservedChain:
    """A chain as listed back. `rules` are canonical JSON texts without handles."""

    hook: str | None
    priority: int | None
    policy: str | None
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ObservedTable:
    """Our table as the kernel lists it: structure only, elements are read apart."""

    chains: Mapping[str, ObservedChain]
    sets: Mapping[str, str]
    counters: Mapping[str, int] = field(default_factory=dict, compare=False)
