"""Single matches in nft's command language and in its JSON listing."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from isolator.model.flow import Address, Hook, Transport
from isolator.model.ruleset import (
    APPROVED_BIT,
    FLOW_BIT,
    AddressIn,
    AddressInSet,
    AnyFlag,
    AnyPortIs,
    Approved,
    Bare,
    Carries,
    Connecting,
    EmbeddedInSet,
    EndInSet,
    Extra,
    FirstAck,
    FlowApproved,
    FlowInSet,
    Fragment,
    HopLimitIs,
    IcmpIs,
    Known,
    LengthAbove,
    LengthAtMost,
    Loopback,
    Match,
    NextHopIn,
    NotConnecting,
    OnlyAck,
    PortIs,
    PortIsNone,
    ToThisHost,
    TransportIs,
    UidIs,
    VersionIs,
    Whole,
)

ICMP_TYPES = {
    4: {3: "destination-unreachable"},
    6: {
        2: "packet-too-big",
        133: "nd-router-solicit",
        134: "nd-router-advert",
        135: "nd-neighbor-solicit",
        136: "nd-neighbor-advert",
    },
}
"""nft's names of the types we use (IANA ICMP and ICMPv6 parameters)."""

ICMP_CODES = {(4, 4): "frag-needed"}

_EMBEDDED = {4: (192, 32), 6: (256, 128)}
"""Bit offset and length, from the ICMP header on, of the destination address in the quoted packet.

8 bytes of ICMP header, then the quoted IP header: its destination starts at byte 16 (RFC 791) or
byte 24 (RFC 8200).
"""


_PSH_ACK = 0x18
"""RFC 9293 section 3.1; nft has no name for two flags together."""
_OUR_BITS = APPROVED_BIT | FLOW_BIT
_PIECE = 0x3FFF
"""More-fragments flag and offset in the IPv4 header (RFC 791 section 3.1)."""


def _family(version: int) -> str:
    return "ip" if version == 4 else "ip6"


def match_text(match: Match) -> str:
    """One match as nft reads it."""
    match match:
        case Loopback(hook):
            return f'{"oif" if hook is Hook.OUTPUT else "iif"} "lo"'
        case ToThisHost():
            return "fib daddr type local"
        case EndInSet(side, name, version):
            end = side.value
            return f"{_family(version)} {end}addr . meta l4proto . th {end}port @{name}"
        case AddressInSet(side, name, version):
            return f"{_family(version)} {side.value}addr @{name}"
        case AddressIn(side, network):
            return f"{_family(network.version)} {side.value}addr {_network(match)}"
        case NextHopIn(network):
            return f"rt ip6 nexthop {network}"
        case PortIs(transport, side, port):
            return f"{transport.value} {side.value}port {port}"
        case PortIsNone(transport, side, ports):
            return f"{transport.value} {side.value}port != {{ {', '.join(map(str, ports))} }}"
        case AnyPortIs(side, port):
            return f"th {side.value}port {port}"
        case TransportIs(transport):
            return f"meta l4proto {transport.value}"
        case VersionIs(version):
            return f"meta nfproto ipv{version}"
        case Fragment(version):
            return f"ip frag-off & 0x{_PIECE:04x} != 0" if version == 4 else "exthdr frag exists"
        case Carries(extra):
            return "ip hdrlength != 5" if extra is Extra.OPTIONS else f"exthdr {extra.value} exists"
        case Whole(version):
            return f"ip frag-off & 0x{_PIECE:04x} == 0" if version == 4 else "exthdr frag missing"
        case Bare(version, transport):
            return "ip hdrlength 5" if version == 4 else f"ip6 nexthdr {transport.value}"
        case NotConnecting():
            return "tcp flags & (syn | ack) != syn"
        case Connecting():
            return "tcp flags & (syn | ack) == syn"
        case AnyFlag(flags):
            return f"tcp flags & ({' | '.join(flags)}) != 0"
        case OnlyAck(pushed):
            return f"tcp flags == {f'0x{_PSH_ACK:02x}' if pushed else 'ack'}"
        case FirstAck(name, version, timestamps):
            length, words = _empty(version, timestamps)
            # nft lists the next header behind the length, its neighbour, wherever it was written.
            bare = "" if version == 4 else " ip6 nexthdr tcp"
            size = f"{_family(version)} length {length}{bare} tcp doff {words}"
            return f"tcp flags == ack {size} {flow_text(version)} @{name}"
        case FlowInSet(name, version):
            return f"{flow_text(version)} @{name}"
        case Approved():
            return f"meta mark & 0x{APPROVED_BIT:08x} == 0x{APPROVED_BIT:08x}"
        case FlowApproved():
            return f"meta mark & 0x{_OUR_BITS:08x} == 0x{_OUR_BITS:08x}"
        case Known():
            return f"meta mark & 0x{_OUR_BITS:08x} == 0x{FLOW_BIT:08x}"
        case IcmpIs():
            return _icmp_text(match)
        case EmbeddedInSet(name, version):
            offset, length = _EMBEDDED[version]
            return f"@th,{offset},{length} @{name}"
        case HopLimitIs(value):
            return f"ip6 hoplimit {value}"
        case LengthAtMost(value):
            return f"meta length <= {value}"
        case LengthAbove(value):
            return f"meta length > {value}"
        case UidIs(uid):
            return f"meta skuid {uid}"


def _empty(version: int, timestamps: bool) -> tuple[int, int]:
    """Length field of a packet that ends with its TCP header, and that header's length in words.

    IPv4 counts its own header of 20 bytes, IPv6 only what follows it (RFC 791, RFC 8200 section 3).
    """
    words = 8 if timestamps else 5
    return words * 4 + (20 if version == 4 else 0), words


def flow_text(version: int) -> str:
    """The key of a set of flows as nft reads it; it implies that the packet is TCP."""
    family = _family(version)
    return f"{family} saddr . tcp sport . {family} daddr . tcp dport"


def flow_json(version: int) -> dict[str, Any]:
    """The same in nft's JSON."""
    family = _family(version)
    parts = ((family, "saddr"), ("tcp", "sport"), (family, "daddr"), ("tcp", "dport"))
    return {"concat": [_payload(protocol, field) for protocol, field in parts]}


def _icmp_text(match: IcmpIs) -> str:
    protocol = "icmp" if match.version == 4 else "icmpv6"
    names = [ICMP_TYPES[match.version][number] for number in match.types]
    text = f"{protocol} type {names[0] if len(names) == 1 else '{ ' + ', '.join(names) + ' }'}"
    if match.code is not None:
        text += f" {protocol} code {ICMP_CODES[match.version, match.code]}"
    return text


def _network(match: AddressIn) -> str:
    network = match.network
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


def _listed_address(address: Address) -> str:
    """As inet_ntop(3) writes it: IPv6 addresses that embed an IPv4 one end in dots."""
    number = int(address)
    low = number & 0xFFFF_FFFF
    if address.version == 6 and number >> 32 == 0 and low > 0xFFFF:
        return f"::{IPv4Address(low)}"
    if address.version == 6 and number >> 32 == 0xFFFF:
        return f"::ffff:{IPv4Address(low)}"
    return str(address)


def _payload(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def _meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


def _compare(left: object, right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def _match_json(match: Match) -> Any:
    match match:
        case FirstAck(name, version, _):
            return _match_json(FlowInSet(name, version))
        case Loopback(hook):
            return _compare(_meta("oif" if hook is Hook.OUTPUT else "iif"), "lo")
        case ToThisHost():
            return _compare({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
        case EndInSet(side, name, version):
            end = side.value
            key = [_payload(_family(version), f"{end}addr"), _meta("l4proto"), _payload("th", f"{end}port")]
            return _compare({"concat": key}, f"@{name}")
        case AddressInSet(side, name, version):
            return _compare(_payload(_family(version), f"{side.value}addr"), f"@{name}")
        case AddressIn(side, network):
            text = _listed_address(network.network_address)
            whole: Any = {"prefix": {"addr": text, "len": network.prefixlen}}
            if network.prefixlen == network.max_prefixlen:
                whole = text
            return _compare(_payload(_family(network.version), f"{side.value}addr"), whole)
        case NextHopIn(network):
            prefix = {"addr": str(network.network_address), "len": network.prefixlen}
            return _compare({"rt": {"key": "nexthop", "family": "ip6"}}, {"prefix": prefix})
        case PortIs(transport, side, port):
            return _compare(_payload(transport.value, f"{side.value}port"), port)
        case PortIsNone(transport, side, ports):
            field = _payload(transport.value, f"{side.value}port")
            return _compare(field, {"set": list(ports)}, "!=")
        case AnyPortIs(side, port):
            return _compare(_payload("th", f"{side.value}port"), port)
        case TransportIs(transport):
            return _compare(_meta("l4proto"), transport.value)
        case VersionIs(version):
            return _compare(_meta("nfproto"), f"ipv{version}")
        case Fragment(4):
            return _compare({"&": [_payload("ip", "frag-off"), _PIECE]}, 0, "!=")
        case Fragment():
            return _compare({"exthdr": {"name": "frag"}}, True)
        case Carries(Extra.OPTIONS):
            return _compare(_payload("ip", "hdrlength"), 5, "!=")
        case Carries(extra):
            return _compare({"exthdr": {"name": extra.value}}, True)
        case Whole(4):
            return _compare({"&": [_payload("ip", "frag-off"), _PIECE]}, 0)
        case Whole():
            return _compare({"exthdr": {"name": "frag"}}, False)
        case Bare(4):
            return _compare(_payload("ip", "hdrlength"), 5)
        case Bare(_, transport):
            return _compare(_payload("ip6", "nexthdr"), transport.value)
        case NotConnecting():
            return _compare({"&": [_payload("tcp", "flags"), ["syn", "ack"]]}, "syn", "!=")
        case Connecting():
            return _compare({"&": [_payload("tcp", "flags"), ["syn", "ack"]]}, "syn")
        case AnyFlag(flags):
            return _compare(_payload("tcp", "flags"), flags[0] if len(flags) == 1 else list(flags), "in")
        case OnlyAck(pushed):
            return _compare(_payload("tcp", "flags"), _PSH_ACK if pushed else "ack")
        case FlowInSet(name, version):
            return _compare(flow_json(version), f"@{name}")
        case Approved():
            return _compare({"&": [_meta("mark"), APPROVED_BIT]}, APPROVED_BIT)
        case FlowApproved():
            return _compare({"&": [_meta("mark"), _OUR_BITS]}, _OUR_BITS)
        case Known():
            return _compare({"&": [_meta("mark"), _OUR_BITS]}, FLOW_BIT)
        case IcmpIs(version, types, _):
            names: Any = [ICMP_TYPES[version][number] for number in types]
            right = names[0] if len(names) == 1 else {"set": names}
            return _compare(_payload("icmp" if version == 4 else "icmpv6", "type"), right)
        case EmbeddedInSet(name, version):
            offset, length = _EMBEDDED[version]
            return _compare({"payload": {"base": "th", "offset": offset, "len": length}}, f"@{name}")
        case HopLimitIs(value):
            return _compare(_payload("ip6", "hoplimit"), value)
        case LengthAtMost(value):
            return _compare(_meta("length"), value, "<=")
        case LengthAbove(value):
            return _compare(_meta("length"), value, ">")
        case UidIs(uid):
            return _compare(_meta("skuid"), uid)


def matches_json(match: Match) -> list[Any]:
    """The listing's expressions for one match: mostly one, two for an ICMP type with a code."""
    first = _match_json(match)
    if isinstance(match, FirstAck):
        length, words = _empty(match.version, match.timestamps)
        sized = _compare(_payload(_family(match.version), "length"), length)
        bare = [] if match.version == 4 else [_match_json(Bare(6, Transport.TCP))]
        return [_match_json(OnlyAck()), sized, *bare, _compare(_payload("tcp", "doff"), words), first]
    if isinstance(match, IcmpIs) and match.code is not None:
        protocol = "icmp" if match.version == 4 else "icmpv6"
        return [first, _compare(_payload(protocol, "code"), ICMP_CODES[match.version, match.code])]
    return [first]
