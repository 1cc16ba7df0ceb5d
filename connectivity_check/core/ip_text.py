"""Whether a text is an IP address: the one place that decides it."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

Ip: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"


def ip_of(text: str) -> Ip | None:
    """Give the address that a text is, None for a name or anything else.

    No brackets, no port, no spaces; four decimal numbers for IPv4 (not the short forms that inet_aton takes:
    to DNS and to proxies those are names); IPv6 as RFC 4291 section 2.2 has it, with a zone or without.
    """
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
