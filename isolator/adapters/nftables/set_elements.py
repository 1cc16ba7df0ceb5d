"""Set elements as the kernel's bytes and as nft's JSON."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network, summarize_address_range
from typing import Any

from isolator.adapters.nftables.batch import (
    DELSETELEM,
    NESTED,
    NEWSETELEM,
    NLM_F_CREATE,
    attribute,
    message,
    nested,
    text,
)
from isolator.model.flow import Address, Destination, Network, Transport
from isolator.model.ruleset import (
    TABLE,
    AddressSet,
    Element,
    ElementKey,
    NetworkKey,
    SetKind,
)

_ELEMENTS_A_MESSAGE = 300
"""A nested attribute is at most 64 KiB long; an element takes up to 196 bytes, with a comment of 127."""

_PROTOCOLS = {Transport.TCP: 6, Transport.UDP: 17}
_CONCATENATED = struct.Struct(">B3xH2x")
"""inet_proto and inet_service in a concatenation: each part is padded to four bytes."""
_TIME = struct.Struct(">Q")
_ONE = 1 | NESTED
_OUR_TABLE = text(1, TABLE)
_COMMENT = 0
_EMBEDDED = (SetKind.EMBEDDED4, SetKind.EMBEDDED6)


def learn_messages(
    additions: Sequence[tuple[AddressSet, Element]], *, in_place: bool
) -> list[tuple[int, int, bytes]] | None:
    """Requests that put the elements there with exactly their timeouts and comments, to be sent as one batch.

    `in_place`: the kernel (6.12 and later) updates an element that is there, provided that the
    remaining time is named too. Earlier ones keep the old timeout, and all keep the old comment, so there
    each element is added (so that the delete cannot fail), deleted and added anew: a packet sees the old one
    or the new one, never none. Of several equal keys the longest lifetime counts. None when some key is a
    range: those need two elements each, which is nft's business.
    """
    wanted: dict[str, dict[bytes, Element]] = {}
    commented: set[str] = set()
    for spec, element in additions:
        key = key_bytes(element.key)
        if key is None or spec.interval:
            return None
        if element.comment is not None:
            commented.add(spec.name)
        held = wanted.setdefault(spec.name, {})
        held[key] = _longer(held[key], element) if key in held else element
    requests: list[tuple[int, int, bytes]] = []
    for name, keys in wanted.items():
        head, pairs = _OUR_TABLE + text(2, name), list(keys.items())
        for start in range(0, len(pairs), _ELEMENTS_A_MESSAGE):
            part = pairs[start : start + _ELEMENTS_A_MESSAGE]
            elements = nested(3, *[_element(*pair) for pair in part])
            add = message(NEWSETELEM, head + elements, NLM_F_CREATE)
            if not in_place or name in commented:
                gone = nested(3, *[nested(1, _key_attribute(key)) for key, _ in part])
                requests += [add, message(DELSETELEM, head + gone)]
            requests.append(add)
    return requests


def _longer(one: Element, other: Element) -> Element:
    """The first of two with one key that lives longest."""
    if one.timeout_s is None or (other.timeout_s is not None and one.timeout_s >= other.timeout_s):
        return one
    return other


def _key_attribute(key: bytes) -> bytes:
    return nested(1, attribute(1, key))


def _element(key: bytes, element: Element) -> bytes:
    comment = b"" if element.comment is None else attribute(6, _user_data(element.comment))
    if element.timeout_s is None:
        return nested(1, _key_attribute(key) + comment)
    size, time = len(key), _TIME.pack(element.timeout_s * 1000)
    # The remaining time is named because an equal timeout alone would not start anew (kernel 6.12).
    headed = (size + 36 + len(comment), _ONE, size + 8, _ONE, size + 4, 1, key, 12, 4, time, 12, 5, time)
    return _timed_layout(size).pack(*headed) + comment


@cache
def _timed_layout(size: int) -> struct.Struct:
    """`nested(1, nested(1, attribute(1, key)), attribute(4, time), attribute(5, time))` in one go: every
    answer waits for it. Keys are whole words, so nothing is padded.
    """
    return struct.Struct(f"=HHHHHH{size}sHH8sHH8s")


def _user_data(comment: str) -> bytes:
    """The comment as nft files it: kind, length, text with its zero (libnftnl/udata.h)."""
    held = comment.encode() + b"\0"
    return bytes((_COMMENT, len(held))) + held


def key_bytes(key: ElementKey) -> bytes | None:
    """The key as the kernel compares it; None for a range."""
    if isinstance(key, Destination):
        return key.address.packed + _CONCATENATED.pack(_PROTOCOLS[key.transport], key.port)
    if isinstance(key, NetworkKey):
        return None
    return key.packed


def learn_text(additions: Sequence[tuple[AddressSet, Element]], *, in_place: bool) -> str:
    """The same as `learn_messages` in nft's language."""
    lines: list[str] = []
    wanted: dict[tuple[AddressSet, ElementKey], Element] = {}
    for spec, element in additions:
        at = (spec, element.key)
        wanted[at] = _longer(wanted[at], element) if at in wanted else element
    for (spec, held_key), element in wanted.items():
        key = key_text(spec, held_key)
        stays = in_place and element.comment is None
        timeout = "" if element.timeout_s is None else f" timeout {element.timeout_s}s"
        expires = f" expires {element.timeout_s}s" if timeout and stays else ""
        comment = "" if element.comment is None else f' comment "{element.comment}"'
        add = f"add element inet {TABLE} {spec.name} {{ {key}{timeout}{expires}{comment} }}"
        if not stays:
            lines += [add, f"delete element inet {TABLE} {spec.name} {{ {key} }}"]
        lines.append(add)
    return "\n".join(lines) + "\n"


def key_text(spec: AddressSet, key: ElementKey) -> str:
    """The key as nft reads it. Raw-payload sets are keyed by a number: nft has no address type there."""
    if isinstance(key, Destination):
        return f"{key.address} . {key.transport.value} . {key.port}"
    if isinstance(key, NetworkKey):
        return f"{key.network} . {key.transport.value} . {key.port}"
    return f"0x{int(key):x}" if spec.kind in _EMBEDDED else str(key)


def listed_elements(spec: AddressSet, listing: dict[str, Any]) -> tuple[Element, ...]:
    """Elements in `nft -j list set`: the remaining lifetime as timeout, comments, ranges as networks.

    An element in its last second is left out: it is as good as gone.
    """
    found: list[Element] = []
    for item in listing.get("nftables", ()):
        for each in item.get("set", {}).get("elem", ()):
            value, left, comment = each, None, None
            if isinstance(each, dict) and "elem" in each:
                value, comment = each["elem"]["val"], each["elem"].get("comment")
                left = each["elem"].get("expires", each["elem"].get("timeout"))
            if left is None or left > 0:
                found += [Element(key, left, comment) for key in _listed_keys(spec, value)]
    return tuple(found)


def _listed_keys(spec: AddressSet, value: Any) -> list[ElementKey]:
    if not isinstance(value, dict):
        return [_address(spec, value)]
    if "concat" not in value:
        raise ValueError(f"unexpected element {value!r}")
    host, transport, port = value["concat"]
    networks = _networks(host)
    if spec.interval:
        return [NetworkKey(network, Transport(transport), int(port)) for network in networks]
    return [Destination(network.network_address, Transport(transport), int(port)) for network in networks]


def _networks(host: Any) -> list[Network]:
    """A listed address, prefix or range as networks; ranges appear when nft merges neighbours."""
    if isinstance(host, str):
        return [ip_network(host)]
    if "prefix" in host:
        return [ip_network(f"{host['prefix']['addr']}/{host['prefix']['len']}")]
    first, last = (ip_address(end) for end in host["range"])
    return list(summarize_address_range(first, last))


def _address(spec: AddressSet, value: Any) -> Address:
    """An address; of a raw-payload set a number, which is text when it exceeds 64 bits."""
    if spec.kind not in _EMBEDDED:
        return ip_address(value)
    number = int(value, 16) if isinstance(value, str) else int(value)
    return IPv4Address(number) if spec.kind.version == 4 else IPv6Address(number)
