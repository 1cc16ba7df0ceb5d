"""Addresses that RFCs fix."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

LINK_LOCAL = IPv6Network("fe80::/10")
"""RFC 4291, section 2.5.6."""

MULTICAST = IPv6Network("ff00::/8")
LINK_MULTICAST = IPv6Network("ff02::/16")
"""Multicast of every scope, and of the own link only (RFC 4291, section 2.7)."""

DHCP6_SERVERS = IPv6Address("ff02::1:2")
"""All_DHCP_Relay_Agents_and_Servers (RFC 8415, section 7.1)."""
