"""What the runner needs from the outside: the network, one step at a time, and the way for a target.

Nothing here raises for what a network does: a step gives an Observation, good or bad. Only cancellation
and programming errors come out as exceptions. Budgets are in seconds and kept by the step itself: a step
that has used its budget observes `Seen.TIMEOUT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from connectivity_check.model import Expectation, Observation, ProxyServer, Role, Route


class Stream(Protocol):
    """Bytes both ways; TCP, a tunnel through a proxy, or TLS over either."""

    address: str
    """The peer's address; the proxy's when tunnelled."""
    via: str
    """`ProxyServer.url` when tunnelled, else ""."""

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError as the socket does."""

    async def receive(self, limit: int = 65536) -> bytes:
        """Give some bytes, b"" at the end of the stream. Raises OSError as the socket does."""

    def close(self) -> None:
        """End it now; twice does nothing."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What a step saw, and the stream to go on with when it succeeded."""

    observation: Observation
    stream: Stream | None = None


class TlsVariant(StrEnum):
    """How the ClientHello differs from the agent's."""

    NORMAL = "normal"
    """TLS 1.2 and 1.3, ALPN http/1.1."""
    LEGACY = "legacy"
    """TLS 1.0 and 1.1 only (security level 0)."""
    TLS12 = "tls12"
    """TLS 1.2 at most."""
    H2 = "h2"
    """ALPN h2 and http/1.1."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `url` is absolute; `absolute_form` writes it so into the request line (plain proxying)."""

    url: str
    method: str = "GET"
    body_size: int = 0
    """Zeros to send as the body (the method/size control)."""
    range: str = ""
    """The value of a Range header."""
    absolute_form: bool = False
    proxy: ProxyServer | None = None
    """With `absolute_form`: whose credentials go into Proxy-Authorization."""
    echo: bool = False
    """The peer is a helper that echoes the request: compare what it got with what was sent."""


class Network(Protocol):
    """The steps. One object a run; it may share sockets and caches between rows."""

    local_names: frozenset[str]
    """Names that this host's hosts file answers, lower case."""
    resolvers: tuple[str, ...]
    """The resolvers in use, in order; more than one gives a second opinion."""

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
        """Ask for A and AAAA at once. `server`: another resolver than the run's. `linger_s`: after the
        answer, how long to listen for a second one (injection)."""

    async def look_up(self, name: str, *, budget_s: float) -> Observation:
        """What the system's own look-up (hosts file, NSS, NRPT) says; role GETADDRINFO."""

    async def connect(
        self, address: str, port: int, *, budget_s: float, role: Role = Role.PROBE, mss: int | None = None
    ) -> Tried:
        """Open a TCP connection."""

    async def hops(self, address: str, port: int, *, budget_s: float, max_hops: int = 16) -> Observation:
        """Walk towards an address with SYNs of growing TTL; role HOPS."""

    async def distance(self, address: str, port: int, *, budget_s: float) -> Observation:
        """How far away whoever answers SYNs to this port sits; role TTL."""

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
        """Ask a proxy, to which `stream` is connected, for a tunnel (CONNECT or SOCKS 5; for an https proxy
        the TLS with the proxy is part of this step).

        The stream is taken over: when no tunnel stands, also when cancelled, it is closed, else
        `Tried.stream` owns it."""

    async def handshake(
        self,
        stream: Stream,
        server_name: str,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
        variant: TlsVariant = TlsVariant.NORMAL,
    ) -> Tried:
        """TLS to the end. A certificate that does not verify is an observation that is not ok, with the
        chain in the evidence, but `Tried.stream` is given all the same (so that a block page can be read).

        The stream is taken over: when the handshake is not finished, also when cancelled, it is closed,
        else `Tried.stream` owns it."""

    async def exchange(
        self,
        stream: Stream,
        request: HttpRequest,
        expectation: Expectation,
        *,
        budget_s: float,
        role: Role = Role.PROBE,
    ) -> Observation:
        """Send a request and judge the answer against what is expected. For CRL, OCSP and CTL targets the
        step is REVOCATION and the body is parsed."""

    async def close(self) -> None:
        """Close what is shared."""


class Capture(Protocol):
    """What is seen on the wire beside the steps (--trace); it runs already."""

    async def finish(self) -> None:
        """End it. What was seen can be asked for afterwards; twice does nothing."""

    def packets(self, address: str, port: int, name: str = "") -> Observation:
        """Give what was exchanged with an address and port; of DNS answers, only those for `name` unless it
        is "". Role PACKETS; it succeeds also when nothing was seen."""


class WayFinder(Protocol):
    """Which way the agent goes to a target."""

    async def route(self, url: str, host: str) -> Route:
        """Give the way for this URL; a PAC file is asked for each target."""


class Clock(Protocol):
    """Time as an argument."""

    def now(self) -> float:
        """Monotonic seconds."""

    def utc(self) -> float:
        """Seconds since 1970, UTC."""
