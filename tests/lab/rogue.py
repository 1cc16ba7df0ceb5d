"""A resolver whose every answer is made by the test: late, forged, wrong, endless, or none at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.lab.namespace import Namespace

_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75


@dataclass(frozen=True, slots=True)
class Asked:
    """One query as it arrived."""

    payload: bytes
    source: tuple[str, int]
    transport: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer to send, in the order given, each after its delay."""

    payload: bytes
    delay_s: float = 0.0
    spoofed: tuple[str, int] | None = None
    """UDP only: send from this address and port instead of the resolver's own."""
    to: tuple[str, int] | None = None
    """UDP only: send there instead of to the asker."""


Answer = Callable[[Asked], Iterable[Reply]]


class RogueResolver:
    """Serves UDP and TCP on one address of a namespace from threads of the test's own process.

    An exception in the test's answer function is kept and raised when the resolver closes: it cannot pass for
    "no answer".
    """

    def __init__(self, namespace: Namespace, address: str, answer: Answer, *, port: int = 53) -> None:
        self.asked: list[Asked] = []
        self._namespace = namespace
        self._answer = answer
        self._family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._errors: list[Exception] = []
        self._closing = threading.Event()
        self._udp = self._bound(socket.SOCK_DGRAM, (address, port))
        self._tcp = self._bound(socket.SOCK_STREAM, (address, port))
        self._tcp.listen(16)
        self._threads = [
            threading.Thread(target=loop, daemon=True)
            for loop in (self._serve_datagrams, self._serve_streams)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop answering; raises what the answer function raised."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> RogueResolver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve_datagrams(self) -> None:
        while not self._closing.is_set():
            try:
                payload, source = self._udp.recvfrom(65535)
            except OSError:  # the 50 ms are over, or an ICMP error about an earlier answer
                continue
            for reply in self._replies(Asked(payload, source[:2], "udp")):
                self._send_datagram(reply, source)

    def _send_datagram(self, reply: Reply, source: Any) -> None:
        target = source if reply.to is None else reply.to
        try:
            if reply.spoofed is None:
                self._udp.sendto(reply.payload, target)
                return
            with self._bound(socket.SOCK_DGRAM, reply.spoofed) as forger:
                forger.sendto(reply.payload, target)
        except OSError as error:
            self._errors.append(error)

    def _serve_streams(self) -> None:
        while not self._closing.is_set():
            try:
                connection, source = self._tcp.accept()
            except OSError:
                continue
            with connection, connection.makefile("rb") as stream:
                connection.settimeout(2)
                try:
                    while len(head := stream.read(2)) == 2:
                        asked = Asked(stream.read(int.from_bytes(head, "big")), source[:2], "tcp")
                        for reply in self._replies(asked):
                            connection.sendall(len(reply.payload).to_bytes(2, "big") + reply.payload)
                except OSError:  # the asker hung up
                    continue

    def _replies(self, asked: Asked) -> Iterable[Reply]:
        self.asked.append(asked)
        try:
            for reply in self._answer(asked):
                if reply.delay_s:
                    time.sleep(reply.delay_s)
                yield reply
        except Exception as error:  # noqa: BLE001 - the test's own function; raised again by close()
            self._errors.append(error)

    def _bound(self, kind: socket.SocketKind, address: tuple[str, int]) -> socket.socket:
        sock = self._namespace.socket(self._family, kind)
        # A forger sends from addresses not its own; IP_FREEBIND would bind them, but IPv4 not route them.
        if self._family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(0.05)
        sock.bind(address)
        return sock
