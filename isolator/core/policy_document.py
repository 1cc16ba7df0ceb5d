"""A policy as plain JSON values and back: what the journal keeps, so that a restart needs no list file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from allowlists.model import Entry, Match, Protocol
from isolator.model.flow import Address, Network, Transport
from isolator.model.order import IsolationOrder, IsolationScope, OnSilence
from isolator.model.policy import (
    AllowedNetwork,
    ControlEndpoint,
    DhcpServer,
    Direction,
    Exclusion,
    LearnLimits,
    Policy,
    ProxyEndpoint,
)

_LONGEST_DURATION_S = 100 * 365 * 86_400
"""A hundred years; keeps sums with the boot clock finite."""


def encode_policy(policy: Policy) -> dict[str, Any]:
    """JSON values of a policy: `decode_policy` gives back one that compiles and judges the same.

    What an entry only tells people (service, purpose, notes, sources) is left out.
    """
    return {
        "scope": policy.scope.value,
        "entries": [_encode_entry(entry) for entry in policy.entries],
        "networks": [
            [str(each.network), each.transport.value, each.port, each.entry] for each in policy.networks
        ],
        "resolvers": [str(address) for address in policy.resolvers],
        "control": [_encode_control(endpoint) for endpoint in policy.control],
        "exclusions": [_encode_exclusion(exclusion) for exclusion in policy.exclusions],
        "dhcp_servers": [str(server.address) for server in policy.dhcp_servers],
        "proxies": [[str(proxy.address), proxy.port] for proxy in policy.proxies],
        "limits": {
            "ttl_floor_s": policy.limits.ttl_floor_s,
            "ttl_ceiling_s": policy.limits.ttl_ceiling_s,
            "private_answers": [str(network) for network in policy.limits.private_answers],
        },
    }


def decode_policy(document: Mapping[str, Any]) -> Policy:
    """The policy of a journal; KeyError, ValueError, TypeError or OverflowError when it is not one.

    One without `proxies` (written before there were any) has none.
    """
    limits = document["limits"]
    return Policy(
        scope=IsolationScope(document["scope"]),
        entries=tuple(_decode_entry(each) for each in document["entries"]),
        networks=tuple(
            AllowedNetwork(_network(network), Transport(transport), int(port), entry)
            for network, transport, port, entry in document["networks"]
        ),
        resolvers=tuple(_address(each) for each in document["resolvers"]),
        control=tuple(_decode_control(each) for each in document["control"]),
        exclusions=tuple(_decode_exclusion(each) for each in document["exclusions"]),
        dhcp_servers=tuple(DhcpServer(_address(each)) for each in document["dhcp_servers"]),
        proxies=tuple(
            ProxyEndpoint(_address(address), int(port)) for address, port in document.get("proxies", ())
        ),
        limits=LearnLimits(
            ttl_floor_s=float(limits["ttl_floor_s"]),
            ttl_ceiling_s=float(limits["ttl_ceiling_s"]),
            private_answers=tuple(_network(each) for each in limits["private_answers"]),
        ),
    )


def _encode_entry(entry: Entry) -> dict[str, Any]:
    return {
        "list_id": entry.list_id,
        "n": entry.n,
        "pattern": entry.pattern,
        "host": entry.host,
        "match": entry.match.value,
        "ports": list(entry.ports),
        "protocol": entry.protocol.value,
        "path": entry.path,
        "apex": entry.apex,
        "geography": entry.geography,
        "known_hosts": list(entry.known_hosts),
    }


def _decode_entry(document: Mapping[str, Any]) -> Entry:
    port, *extra = document["ports"]
    return Entry(
        n=int(document["n"]),
        pattern=document["pattern"],
        host=document["host"],
        match=Match(document["match"]),
        port=int(port),
        extra_ports=tuple(int(each) for each in extra),
        protocol=Protocol(document["protocol"]),
        path=document["path"],
        apex=bool(document["apex"]),
        geography=document["geography"],
        known_hosts=tuple(document["known_hosts"]),
        list_id=document["list_id"],
    )


def _encode_control(endpoint: ControlEndpoint) -> dict[str, Any]:
    address = None if endpoint.address is None else str(endpoint.address)
    return {"host": endpoint.host, "address": address, "port": endpoint.port}


def _decode_control(document: Mapping[str, Any]) -> ControlEndpoint:
    address = document["address"]
    return ControlEndpoint(
        port=int(document["port"]),
        host=document["host"],
        address=None if address is None else _address(address),
    )


def _encode_exclusion(exclusion: Exclusion) -> dict[str, Any]:
    return {
        "name": exclusion.name,
        "direction": exclusion.direction.value,
        "transport": exclusion.transport.value,
        "port": exclusion.port,
        "remote": None if exclusion.remote is None else str(exclusion.remote),
        "pattern": exclusion.pattern,
        "uid": exclusion.uid,
    }


def _decode_exclusion(document: Mapping[str, Any]) -> Exclusion:
    remote = document["remote"]
    return Exclusion(
        name=document["name"],
        direction=Direction(document["direction"]),
        transport=Transport(document["transport"]),
        port=_whole_number(document["port"]),
        remote=None if remote is None else _network(remote),
        pattern=document["pattern"],
        uid=_whole_number(document["uid"]),
    )


def _address(value: object) -> Address:
    return ip_address(_text(value))


def _network(value: object) -> Network:
    return ip_network(_text(value))


def _text(value: object) -> str:
    """Numbers are addresses to Python's `ip_address`: a damaged 5 would become 0.0.0.5."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value


def _whole_number(value: object) -> int | None:
    if value is not None and type(value) is not int:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def encode_order(order: IsolationOrder) -> dict[str, Any]:
    """JSON values of an order; also the message body that the command sends to the agent."""
    return {
        "scope": order.scope.value,
        "lists": list(order.lists),
        "geo": list(order.geo),
        "profile": order.profile,
        "duration_s": order.duration_s,
        "comment": order.comment,
        "on_silence": order.on_silence.value,
        "exclusions": None
        if order.exclusions is None
        else [_encode_exclusion(each) for each in order.exclusions],
    }


def decode_order(document: Mapping[str, Any]) -> IsolationOrder:
    """The order back; KeyError, ValueError or TypeError when it is not one.

    One without `exclusions` (written before there were any) has those of agent.yaml.
    """
    if not isinstance(document, Mapping):
        raise TypeError(f"an order is wanted, not {document!r}")
    exclusions = document.get("exclusions")
    return IsolationOrder(
        scope=IsolationScope(document["scope"]),
        lists=_strings(document["lists"]),
        geo=_strings(document["geo"]),
        profile=str(document["profile"]),
        duration_s=_duration(document["duration_s"]),
        comment=str(document["comment"]),
        on_silence=OnSilence(document["on_silence"]),
        exclusions=None if exclusions is None else tuple(_decode_exclusion(each) for each in exclusions),
    )


def _duration(value: object) -> float | None:
    """JSON knows NaN and Infinity as Python reads it; an isolation of that length would never end."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"the duration {value!r} is not a number")
    if not 0 < value <= _LONGEST_DURATION_S:
        raise ValueError(f"the duration {value} is not between 0 and {_LONGEST_DURATION_S} seconds")
    return float(value)


def _strings(values: Sequence[object]) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of texts is wanted")
    return tuple(str(value) for value in values)
