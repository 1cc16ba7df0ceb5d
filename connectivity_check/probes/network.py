"""The real network: the steps of all probes under one roof (`ports.Network`)."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from connectivity_check.core.ip_text import ip_of
from connectivity_check.model import Expectation, Observation, ProxyServer, Role
from connectivity_check.ports import Clock, HttpRequest, Stream, TlsVariant, Tried
from connectivity_check.probes.dns_client import DnsClient, system_servers
from connectivity_check.probes.http import HttpProbe
from connectivity_check.probes.page import block_page_marks
from connectivity_check.probes.proxy import ProxyTunnel
from connectivity_check.probes.tcp import TcpProbe
from connectivity_check.probes.tls import TlsProbe
from connectivity_check.probes.trust import Trust

_NEEDED = ("dns.ipv6", "email.utils")
"""Modules that every run needs sooner or later, and that the steps import when they do."""
_FOR_REVOCATION = ("cryptography.x509.ocsp", "cryptography.hazmat.primitives.serialization")
MAX_HOSTS_BYTES = 16 * 1024 * 1024
"""Lists that block advertisements by hosts file have a few megabytes."""


class RealNetwork:
    """One object a run, in one event loop; close it there."""

    def __init__(
        self,
        dns: DnsClient,
        clock: Clock,
        trust: Trust,
        *,
        source_address: str | None,
        resolvers: Sequence[str],
    ) -> None:
        self._dns = dns
        self._tcp = TcpProbe(clock, source_address=source_address)
        self._tls = TlsProbe(trust, clock)
        self._http = HttpProbe(clock)
        self._proxy = ProxyTunnel(clock, self._tls.handshake)
        self.local_names = names_of_hosts_file(hosts_file())
        self.resolvers = tuple(resolvers)

    async def resolve(
        self,
        name: str,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
        server: str | None = None,
        tcp: bool = False,
        linger_s: float = 0.0,
    ) -> Observation:
        """See `DnsClient.resolve`."""
        return await self._dns.resolve(
            name, budget_s=budget_s, role=role, server=server, tcp=tcp, linger_s=linger_s
        )

    async def look_up(self, name: str, *, budget_s: float) -> Observation:
        """See `DnsClient.look_up`."""
        return await self._dns.look_up(name, budget_s=budget_s)

    async def connect(
        self, address: str, port: int, *, budget_s: float, role: Role = Role.PROBE, mss: int | None = None
    ) -> Tried:
        """See `TcpProbe.connect`."""
        return await self._tcp.connect(address, port, budget_s=budget_s, role=role, mss=mss)

    async def hops(self, address: str, port: int, *, budget_s: float, max_hops: int = 16) -> Observation:
        """See `TcpProbe.hops`."""
        return await self._tcp.hops(address, port, budget_s=budget_s, max_hops=max_hops)

    async def distance(self, address: str, port: int, *, budget_s: float) -> Observation:
        """See `TcpProbe.distance`."""
        return await self._tcp.distance(address, port, budget_s=budget_s)

    async def tunnel(
        self,
        stream: Stream,
        proxy: ProxyServer,
        host: str,
        port: int,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
    ) -> Tried:
        """See `ProxyTunnel.tunnel`."""
        return await self._proxy.tunnel(stream, proxy, host, port, budget_s=budget_s, role=role)

    async def handshake(
        self,
        stream: Stream,
        server_name: str,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
        variant: TlsVariant = TlsVariant.NORMAL,
    ) -> Tried:
        """See `TlsProbe.handshake`."""
        return await self._tls.handshake(stream, server_name, budget_s=budget_s, role=role, variant=variant)

    async def exchange(
        self,
        stream: Stream,
        request: HttpRequest,
        expectation: Expectation,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
    ) -> Observation:
        """See `HttpProbe.exchange`."""
        return await self._http.exchange(stream, request, expectation, budget_s=budget_s, role=role)

    async def close(self) -> None:
        """Close the sockets that rows share."""
        await self._dns.close()


def build(
    clock: Clock,
    trust: Trust,
    *,
    servers: Sequence[tuple[str, int]] = (),
    source_address: str | None = None,
    revocation: bool = False,
) -> RealNetwork:
    """Make the network of a run. `servers`: resolvers to ask instead of the system's.

    Loads what the steps need: loaded at the first use, it would count as time of the network. `revocation`:
    lists of revoked certificates will be read, too.
    """
    for name in (*_NEEDED, *_FOR_REVOCATION) if revocation else _NEEDED:
        importlib.import_module(name)
    block_page_marks()
    asked = tuple(servers) or system_servers()
    dns = DnsClient(asked, source_address=source_address, clock=clock)
    addresses = [address if port == 53 else _with_port(address, port) for address, port in asked]
    return RealNetwork(dns, clock, trust, source_address=source_address, resolvers=addresses)


def _with_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def hosts_file() -> Path:
    """Give where this system keeps its hosts file."""
    windows = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), r"System32\drivers\etc\hosts")
    return windows if sys.platform == "win32" else Path("/etc/hosts")


def names_of_hosts_file(path: Path) -> frozenset[str]:
    """Give every name in a hosts file, lower case; none when it cannot be read (hosts(5))."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_HOSTS_BYTES).decode("utf-8", "replace")
    except OSError:
        return frozenset()
    found: set[str] = set()
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if ip_of(address.partition("%")[0]):
            found.update(name.lower().rstrip(".") for name in names)
    return frozenset(found)
