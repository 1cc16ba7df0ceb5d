"""The names and addresses of the lab's internet.

Server addresses look public, because the product refuses private answers for public names; they exist
inside the namespaces only. Those of listed names lie outside Microsoft's published networks, so that what
opens them is the name; STATIC_* lie inside (``static_ip_table`` of the streamlined list), so that what
opens them is the network.
"""

from __future__ import annotations

from tests.lab.namespace import Addresses
from tests.lab.zone import Host

EXACT = "winatp-gw-neu.microsoft.com"
"""A host that the standard list names as it is."""
WILDCARD = "edr-neu.eu.endpoint.security.microsoft.com"
"""Two labels below ``*.endpoint.security.microsoft.com``, which both lists have."""
WILDCARD_MAPS = "europe.x.cp.wd.microsoft.com"
CERTIFICATES = "crl.microsoft.com"
CHAINED = "mdav.eu.endpoint.security.microsoft.com"
"""A listed name that answers with a CNAME chain through unlisted names."""
ROTATING = "edr-weu.eu.endpoint.security.microsoft.com"
"""A listed name with 200 addresses, one per answer, TTL 1 s."""
UNLISTED = "www.example.com"
UNLISTED_SHARED = "shared-with-crl.example.net"
"""An unlisted name on the very address of CERTIFICATES, as on a CDN."""
TUNNEL_ZONE = "evil.example.org"
"""Every name below it exists: the far end of a DNS tunnel."""

STATIC_US, STATIC_EU = "20.15.141.10", "4.208.13.10"
UNLISTED_ADDRESS = Addresses("93.184.216.200", "2606:2800:220:1::200")
"""An address no name leads to."""

LISTED_HOSTS = (
    EXACT,
    WILDCARD,
    WILDCARD_MAPS,
    CERTIFICATES,
    "winatp-gw-weu.microsoft.com",
    "winatp-gw-cus.microsoft.com",
    "winatp-gw-eus.microsoft.com",
    "winatp-gw-uks.microsoft.com",
    "winatp-gw-aus.microsoft.com",
    "edr-cus.us.endpoint.security.microsoft.com",
    "edr-eus.us.endpoint.security.microsoft.com",
    "edr-uks.uk.endpoint.security.microsoft.com",
    "edr-aus.au.endpoint.security.microsoft.com",
    "mdav.us.endpoint.security.microsoft.com",
    "au-v20.events.endpoint.security.microsoft.com",
    "unitedstates.x.cp.wd.microsoft.com",
    "wu-cdn.x.cp.wd.microsoft.com",
    "eu-v20.events.data.microsoft.com",
    "us-v20.events.data.microsoft.com",
    "automatedirstrprdneu.blob.core.windows.net",
    "usseu1northprod.blob.core.windows.net",
    "ctldl.windowsupdate.com",
    "www.microsoft.com",
    "login.microsoftonline.com",
    "login.live.com",
    "login.windows.net",
    "go.microsoft.com",
    "definitionupdates.microsoft.com",
    "packages.microsoft.com",
    "settings-win.data.microsoft.com",
)
UNLISTED_HOSTS = (UNLISTED, "exfil.example.org", "github.com", "endpoint.security.microsoft.com.example.org")


def listed_addresses(index: int) -> Addresses:
    """Addresses of the ``index``-th listed host."""
    return Addresses(f"20.60.{index // 200}.{10 + index % 200}", f"2603:1061::{index + 0x10:x}")


def default_hosts() -> tuple[Host, ...]:
    """The zone a lab starts with."""
    listed = [_host(name, listed_addresses(index)) for index, name in enumerate(LISTED_HOSTS)]
    unlisted = [
        _host(name, Addresses(f"93.184.216.{10 + index}", f"2606:2800:220:1::{index + 0x10:x}"))
        for index, name in enumerate(UNLISTED_HOSTS)
    ]
    certificates = next(host for host in listed if host.name == CERTIFICATES)
    return (
        *listed,
        *unlisted,
        Host(UNLISTED_SHARED, certificates.v4, certificates.v6),
        Host(CHAINED, cname="mdav-eu.trafficmanager.example.net", ttl=30),
        Host("mdav-eu.trafficmanager.example.net", cname="node7.cloudapp.example.net", ttl=30),
        Host("node7.cloudapp.example.net", ("20.60.9.7",), ("2603:1061::907",), ttl=10),
        Host(
            ROTATING,
            tuple(f"20.61.0.{n}" for n in range(1, 201)),
            tuple(f"2603:1062::{n:x}" for n in range(1, 201)),
            ttl=1,
            per_answer=1,
        ),
        _host(f"*.{TUNNEL_ZONE}", Addresses("93.184.216.66", "2606:2800:220:1::66")),
    )


def _host(name: str, addresses: Addresses) -> Host:
    return Host(name, (addresses.v4,), (addresses.v6,))
