"""DNS queries whose names say who sent them: did one arrive at the resolver?"""

from __future__ import annotations

import contextlib
import secrets
import socket
import sys
from dataclasses import dataclass, field

from tests.lab import Lab, topology, world, zone
from tests.lab.namespace import Namespace

SO_MARK = 36


@dataclass(frozen=True, slots=True)
class MarkedQueries:
    """One attempt's queries: names of its own below the tunnel's zone, which exists and is on no list."""

    lab: Lab
    label: str = field(default_factory=lambda: secrets.token_hex(6))

    def send(
        self,
        count: int = 1,
        *,
        namespace: Namespace | None = None,
        server: str = topology.ADDRESSES[topology.ROUTER].v4,
        mark: int = 0,
        flags: int | None = None,
    ) -> int:
        """Send queries and wait for no answer; how many the kernel refused at once (EPERM).

        What waits in a queue counts against its socket's send buffer: a full one is left for a new one.
        """
        refused = 0
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with contextlib.ExitStack() as open_sockets:

            def another() -> socket.socket:
                sock = (namespace or self.lab.device).socket(family, socket.SOCK_DGRAM)
                sock.setblocking(False)
                if mark:
                    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark.to_bytes(4, sys.byteorder))
                return open_sockets.enter_context(sock)

            sock = another()
            for number in range(count):
                query = bytearray(zone.ask(self.name(number), zone.A, number & 0xFFFF))
                if flags is not None:
                    query[2:4] = flags.to_bytes(2, "big")
                try:
                    sock.sendto(query, (server, 53))
                except PermissionError:
                    refused += 1
                except OSError:  # the buffer is full, or the error of an earlier one was told by ICMP
                    sock = another()
                    sock.sendto(query, (server, 53))
        return refused

    def name(self, number: int = 0) -> str:
        """The name of one query."""
        return f"{number}.{self.label}.{world.TUNNEL_ZONE}"

    def arrived(self) -> int:
        """How many of them the resolver has seen.

        It is asked something from elsewhere first: when that is answered, what came before is in its log.
        """
        elsewhere = self.lab.reach_from(self.lab.neighbour, 10.0)
        for server in self.lab.reach.resolvers():
            assert elsewhere.dns(world.EXACT, server=server).ok
        return sum(f".{self.label}." in arrival.name for arrival in self.lab.resolver.log())
