"""The socket error queue of Linux: who sent the ICMP error that ended a connection attempt.

A plain connect() says EHOSTUNREACH and no more. With IP_RECVERR set *before* the SYN goes out the kernel
keeps the ICMP message with its sender, type and code, and an unprivileged process may read it (ip(7),
MSG_ERRQUEUE in recv(2)). It works only while the socket is in SYN_SENT. Other systems never find anything.
"""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass

from connectivity_check.model import Json

# Numbers of linux/in.h, linux/in6.h and linux/errqueue.h; the socket module of 3.11 lacks most of them.
_IPV4_LEVEL_AND_NAME, _IPV6_LEVEL_AND_NAME = (0, 11), (41, 25)
"""IPPROTO_IP with IP_RECVERR, IPPROTO_IPV6 with IPV6_RECVERR."""
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
_EXTENDED_ERR = struct.Struct("=IBBBBII")
"""struct sock_extended_err: errno, origin, type, code, pad, info, data; the sender's sockaddr follows it."""
_MOST_ENTRIES = 8
"""One SYN and its repeats cause a few errors at most; a flood of them must not hold the loop."""


@dataclass(frozen=True, slots=True)
class IcmpError:
    """An ICMP (`family` 4) or ICMPv6 (6) error about a packet of ours; `sender` "" when unknown."""

    sender: str
    type: int
    code: int
    family: int

    @property
    def is_time_exceeded(self) -> bool:
        """The TTL ran out on the way (RFC 792 type 11, RFC 4443 type 3)."""
        return self.type == (11 if self.family == 4 else 3)

    @property
    def evidence(self) -> dict[str, Json]:
        """As in docs/preflight-evidence.md, key `icmp`."""
        return {"from": self.sender, "type": self.type, "code": self.code, "family": self.family}


def enable(sock: socket.socket, *, on: bool = True) -> None:
    """Let the kernel keep ICMP errors for this socket, or (`on=False`) stop and forget what it kept.

    To be switched off once connected: while it is on, a stray ICMP error ends an established connection,
    which TCP otherwise survives (RFC 5461).
    """
    if sys.platform == "linux":
        six = sock.family == socket.AF_INET6
        level, name = _IPV6_LEVEL_AND_NAME if six else _IPV4_LEVEL_AND_NAME
        sock.setsockopt(level, name, int(on))


def read(sock: socket.socket) -> IcmpError | None:
    """Take everything out of the queue and give the newest ICMP error; None when there is none."""
    newest: IcmpError | None = None
    if sys.platform == "linux":
        for _ in range(_MOST_ENTRIES):
            try:
                _, ancillary, _, _ = sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except OSError:  # EAGAIN: the queue is empty
                break
            for level, name, data in ancillary:
                if (level, name) in (_IPV4_LEVEL_AND_NAME, _IPV6_LEVEL_AND_NAME):
                    newest = parse(data) or newest
    return newest


def parse(data: bytes) -> IcmpError | None:
    """Read one control message of the queue; None for errors that no ICMP message caused, or short ones."""
    if len(data) < _EXTENDED_ERR.size:
        return None
    _, origin, kind, code, _, _, _ = _EXTENDED_ERR.unpack_from(data)
    if origin not in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
        return None
    sender = _sender(data[_EXTENDED_ERR.size :])
    return IcmpError(sender, kind, code, 4 if origin == _ORIGIN_ICMP else 6)


def _sender(sockaddr: bytes) -> str:
    """Give the address in a struct sockaddr_in or sockaddr_in6 of this host's byte order."""
    if len(sockaddr) < 2:
        return ""
    (family,) = struct.unpack_from("=H", sockaddr)
    if family == socket.AF_INET and len(sockaddr) >= 8:
        return socket.inet_ntop(socket.AF_INET, sockaddr[4:8])
    if family == socket.AF_INET6 and len(sockaddr) >= 24:
        return socket.inet_ntop(socket.AF_INET6, sockaddr[8:24])
    return ""
