"""A TCP client of the tests' own: it decides which bytes go into which segment, in which order, how often.

It speaks through raw sockets of the namespace, under ports that no socket of the kernel has. The kernel would
answer with RST what it knows nothing of; a rule before every other drops those.
"""

from __future__ import annotations

import contextlib
import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count

from tests.lab.namespace import Namespace

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_FIRST_PORT, _LAST_PORT = 20_000, 29_999
_MARK, _HEAD, _SPACE = 0x77, struct.Struct("!HHIIBBHHH"), 1 << 32
_SNDBUFFORCE, _RCVBUFFORCE, _BUFFER = 32, 33, 8 << 20
_AGAIN_S, _PATIENCE_S = 3.0, 12.0
_RULES = f"""table inet raw_tcp {{
  chain out {{
    type filter hook output priority -400;
    tcp sport {_FIRST_PORT}-{_LAST_PORT} tcp flags & rst == rst meta mark != {_MARK} drop
}}
}}"""


@dataclass(slots=True)
class Call:
    """One connection: what is sent (offset and bytes, in this order), and what became of it."""

    server: str
    port: int
    pieces: Sequence[tuple[int, bytes]]
    size: int
    """How many bytes the pieces make together, each place counted once; an echo is whole when it has them."""
    first: int | None = None
    """The SYN's sequence number; None for any."""
    outcome: str = "timeout"
    """In the end "echo", "reset", "closed", or "wrong reset" for one that no kernel would believe."""
    own_port: int = 0
    again: int = 0
    """How often something had to be sent again because nothing came."""
    got: dict[int, bytes] = field(default_factory=dict)
    number: int = 0
    """The first byte's sequence number."""
    expects: int = 0
    begun: bool = False
    ended: bool = False
    due: float = 0.0

    def echoed(self) -> bytes:
        """What came back."""
        return b"".join(self.got[offset] for offset in sorted(self.got))


class RawTcp:
    """Makes calls from a namespace, many at a time."""

    def __init__(self, namespace: Namespace) -> None:
        self._own = namespace.addresses
        self._ports = count(_FIRST_PORT)
        self._v4 = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self._v6 = namespace.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP)
        for sock, address in ((self._v4, self._own.v4), (self._v6, self._own.v6)):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _MARK)
            sock.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, _BUFFER)
            # What the gate holds counts as not sent.
            sock.setsockopt(socket.SOL_SOCKET, _SNDBUFFORCE, _BUFFER)
            sock.setblocking(False)
            sock.bind((address, 0))
        self._calls: dict[int, Call] = {}

    def close(self) -> None:
        """Close the sockets."""
        self._v4.close()
        self._v6.close()

    def make(self, calls: Sequence[Call]) -> None:
        """Make all of them at once and wait for the end of each; bounded in time."""
        self._calls = {}
        for call in calls:
            call.own_port = next(self._ports)
            assert call.own_port <= _LAST_PORT, "so many calls in one lab are not planned"
            call.number = 1 + (secrets.randbits(32) if call.first is None else call.first)
            self._calls[call.own_port] = call
            self._send_all(call)
        end = time.monotonic() + _PATIENCE_S
        while (left := [call for call in calls if not call.ended]) and time.monotonic() < end:
            ready, _, _ = select.select([self._v4, self._v6], [], [], 0.25)
            for sock in ready:
                self._receive(sock)
            for call in left:
                if not call.ended and time.monotonic() > call.due:
                    call.again += 1
                    self._send_all(call)
        for call in calls:
            if call.outcome != "reset":
                self._send(call, RST, len_before(call))

    def _send_all(self, call: Call) -> None:
        """What is to be said at this point of the call."""
        call.due = time.monotonic() + _AGAIN_S
        if not call.begun:
            self._send(call, SYN, -1)
            return
        for offset, data in call.pieces:
            self._send(call, PSH | ACK, offset, data)

    def _receive(self, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet, source = sock.recvfrom(65_535)
                if sock is self._v4:
                    packet = packet[(packet[0] & 15) * 4 :]
                own_port = int.from_bytes(packet[2:4], "big")
                call = self._calls.get(own_port)
                if call is not None and not call.ended and ip_address(source[0]) == ip_address(call.server):
                    self._hear(call, packet)

    def _hear(self, call: Call, segment: bytes) -> None:
        source_port, _, sequence, _, size, flags, *_ = _HEAD.unpack_from(segment)
        if source_port != call.port:
            return
        data = segment[(size >> 4) * 4 :]
        if flags & RST:
            # RFC 5961 section 3.2: any other number is a forgery to the kernel; before the SYN's answer
            # what counts is the acknowledgement.
            call.outcome = "reset" if not call.begun or sequence == call.expects else "wrong reset"
            call.ended = True
        elif flags & SYN and not call.begun:
            call.begun, call.expects = True, (sequence + 1) % _SPACE
            self._send(call, ACK, 0)
            self._send_all(call)
        elif call.begun and sequence == call.expects and (data or flags & FIN):
            call.got[len(call.echoed())] = data
            call.expects = (sequence + len(data)) % _SPACE
            whole = len(call.echoed()) >= call.size
            if whole or flags & FIN:
                call.outcome, call.ended = ("echo" if whole else "closed"), True
            self._send(call, ACK, call.size)

    def _send(self, call: Call, flags: int, offset: int, data: bytes = b"") -> None:
        sixth = ":" in call.server
        own = ip_address(self._own.v6 if sixth else self._own.v4)
        acknowledges = call.expects if flags & ACK else 0
        head = [call.own_port, call.port, (call.number + offset) % _SPACE, acknowledges]
        bare = _HEAD.pack(*head, 5 << 4, flags, 64_000, 0, 0) + data
        pseudo = own.packed + ip_address(call.server).packed + struct.pack("!II", len(bare), 6)
        segment = bare[:16] + _checksum(pseudo + bare).to_bytes(2, "big") + bare[18:]
        (self._v6 if sixth else self._v4).sendto(segment, (call.server, 0))


def len_before(call: Call) -> int:
    """Where the next byte of a call would stand: a RST there is believed."""
    return call.size if call.begun else 0


@contextlib.contextmanager
def raw_tcp(namespace: Namespace) -> Iterator[RawTcp]:
    """A client in the namespace, with the rule that keeps the kernel out of its calls."""
    namespace.run(["nft", "-f", "-"], stdin=_RULES, check=True)
    client = RawTcp(namespace)
    try:
        yield client
    finally:
        client.close()
        namespace.run(["nft", "delete table inet raw_tcp"], check=True)


def _checksum(data: bytes) -> int:
    """RFC 1071, of the whole segment with its pseudo header."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data)) % 0xFFFF
    return 0xFFFF - total
