"""The addresses that make a flow a local one, by rtnetlink(7)."""

from __future__ import annotations

from collections.abc import Container, Iterable
from ipaddress import IPv4Address, IPv6Address

from isolator.adapters.flow_table.netlink import Conversation, address, attributes
from isolator.model.flow import Address

_ROUTE = 0
_GET_ADDRESSES = 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


class LocalAddresses(Container[Address]):
    """This host's addresses, and all loopback ones (127.0.0.0/8 is more than what is configured)."""

    def __init__(self, configured: Iterable[Address]) -> None:
        self._known = dict.fromkeys(configured, True)

    def __contains__(self, address: object) -> bool:
        if not isinstance(address, IPv4Address | IPv6Address):
            return False
        known = self._known.get(address)
        if known is None:
            known = self._known[address] = address.is_loopback
        return known


def own_addresses() -> LocalAddresses:
    """Every address of this network namespace, without scopes; OSError when the kernel does not tell."""
    found: set[Address] = set()
    with Conversation(_ROUTE) as talk:
        for answer in talk.dump(_GET_ADDRESSES, bytes(4)):
            fields = attributes(answer, 8)
            # IFA_LOCAL is ours where a point-to-point link has the peer in IFA_ADDRESS.
            packed = fields.get(_IFA_LOCAL, fields.get(_IFA_ADDRESS))
            if packed is not None:
                found.add(address(packed))
    return LocalAddresses(found)
