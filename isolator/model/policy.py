"""What an isolated host may still do, before it becomes rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from allowlists.model import Entry
from isolator.model.exclusion import Direction as Direction
from isolator.model.exclusion import Exclusion as Exclusion
from isolator.model.flow import Address, Network, Transport
from isolator.model.order import IsolationScope


@dataclass(frozen=True, slots=True)
class ControlEndpoint:
    """Where the controller is; `host` is a name to be learned, or `address` is given outright."""

    port: int
    host: str | None = None
    address: Address | None = None

    def __str__(self) -> str:
        return f"{self.host or self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class AllowedNetwork:
    """A published static range: reached without a name."""

    network: Network
    transport: Transport
    port: int
    entry: str


@dataclass(frozen=True, slots=True)
class LearnLimits:
    """How long a learned address stays usable, and which private answers are believed."""

    ttl_floor_s: float = 60.0
    ttl_ceiling_s: float = 86_400.0
    private_answers: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class DhcpServer:
    """A DHCP server whose lease the host holds (RFC 2131, RFC 8415)."""

    address: Address


@dataclass(frozen=True, slots=True)
class ProxyEndpoint:
    """An explicit proxy of the organisation: each request to it is judged by the host it names."""

    address: Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything an isolated host may do; the input of the compiler and of the gate."""

    scope: IsolationScope
    entries: tuple[Entry, ...]
    networks: tuple[AllowedNetwork, ...] = ()
    resolvers: tuple[Address, ...] = ()
    control: tuple[ControlEndpoint, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    dhcp_servers: tuple[DhcpServer, ...] = ()
    proxies: tuple[ProxyEndpoint, ...] = ()
    limits: LearnLimits = field(default_factory=LearnLimits)
