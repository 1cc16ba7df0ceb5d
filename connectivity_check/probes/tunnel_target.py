"""Where a tunnel is to lead: a host and a port that can go into a request without changing its meaning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

from connectivity_check.core.ip_text import Ip, ip_of

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_LONGEST_NAME = 254
"""253 and a trailing dot (RFC 1035 section 2.3.4, as text)."""


@dataclass(frozen=True, slots=True)
class TunnelTarget:
    """A checked destination; made by `parse`."""

    host: str
    """An ASCII name, or an address without brackets."""
    port: int
    address: Ip | None = None
    """Set when the host is an address."""

    @property
    def authority(self) -> str:
        """`host:port` for CONNECT (RFC 9110 section 9.3.6); IPv6 in brackets."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, host: str, port: int) -> TunnelTarget:
        """Check a host and a port; names beyond ASCII become A-labels.

        ValueError with a reason for what no proxy can be asked for: control characters, spaces, delimiters
        (they would write into the request), empty or overlong names, zones, ports out of range.
        """
        if not 0 < port < 65536:
            raise ValueError(f"port {port} is out of range")
        address = ip_of(host.removeprefix("[").removesuffix("]"))
        if address is not None:
            if "%" in str(address):
                raise ValueError("an address with a zone means nothing to a proxy")
            return cls(str(address), port, address)
        name = host if host.isascii() else _to_ascii(host)
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            raise ValueError("the host name holds characters or lengths that no request can carry")
        return cls(name, port)


def _to_ascii(host: str) -> str:
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError:
        raise ValueError("the host name is no valid internationalised name") from None
