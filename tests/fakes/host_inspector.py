"""A host with known facts."""

from __future__ import annotations

from ipaddress import IPv4Address

from isolator.ports import HostFacts

PLAIN_HOST = HostFacts(
    resolvers=(IPv4Address("192.0.2.53"),),
    own_addresses=(IPv4Address("192.0.2.10"),),
    dhcp_servers=(IPv4Address("192.0.2.1"),),
)


class FakeInspector:
    """Gives `found`, which a test may replace."""

    def __init__(self, found: HostFacts = PLAIN_HOST) -> None:
        self.found = found

    def facts(self) -> HostFacts:
        """As of now."""
        return self.found
