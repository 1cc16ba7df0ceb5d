"""The addresses that make a flow a local one, by rtnetlink(7)."""

from __future__ import annotations

from ipaddress import ip_address

from isolator.adapters.flow_table.netlink import Conversation, attributes
from isolator.model.flow import Address

_ROUTE = 0
_GET_ADDRESSES = 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2


def own_addresses() -> frozenset[Address]:
    """Every address of this network namespace, without scopes; OSError when the kernel does not tell."""
    found: set[Address] = set()
    with Conversation(_ROUTE) as talk:
        for answer in talk.dump(_GET_ADDRESSES, bytes(4)):
            fields = attributes(answer, 8)
            # IFA_LOCAL is ours where a point-to-point link has the peer in IFA_ADDRESS.
            packed = fields.get(_IFA_LOCAL, fields.get(_IFA_ADDRESS))
            if packed is not None:
                found.add(ip_address(packed))
    return frozenset(found)
