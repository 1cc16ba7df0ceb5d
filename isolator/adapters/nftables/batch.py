"""nftables messages by netlink, for the two things nft's language cannot do fast or at all.

Layout: linux/netfilter/nfnetlink.h (batches), linux/netfilter/nf_tables.h (attributes). Headers
are in host order, nftables' own numbers in network order.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

from isolator.model.failure import FailureCode, IsolatorError

AF_NETLINK = 16
NETLINK_NETFILTER = 12
"""Written out because the socket module has the first on Linux only and the second nowhere."""

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NEWTABLE = 0
NEWCHAIN = 3
NEWRULE = 6
GETRULE = 7
NEWSETELEM = 12
DELSETELEM = 14

_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
NFTABLES = 10
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_DUMP = 0x300
NESTED = 0x8000
_KIND = 0x3FFF
_INET = 1
_NETLINK_CAP_ACK = 10
_SOL_NETLINK = 270
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
LONGEST = 128 * 1024
"""Bytes in one batch; the default socket buffer takes more than that on every kernel."""


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(len(payload) + 4, kind) + payload + b"\0" * (-len(payload) % 4)


def nested(kind: int, *members: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(members))


def text(kind: int, value: str) -> bytes:
    """A zero-terminated string attribute."""
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, body: bytes, flags: int = 0) -> tuple[int, int, bytes]:
    """One nftables request about family inet, to go into a batch."""
    return (NFTABLES << 8 | kind, flags, struct.pack("=BBH", _INET, 0, 0) + body)


def batch(messages: Sequence[tuple[int, int, bytes]], *, commit: bool = True) -> bytes:
    """The messages as one transaction; without `commit` the kernel judges them and aborts.

    The last message asks for an acknowledgement. (Older kernels ignore the flag on the end mark.)
    """
    edge = struct.pack("=BBH", 0, 0, socket.htons(NFTABLES))
    parts = [_frame(_BATCH_BEGIN, NLM_F_REQUEST, 0, edge)]
    last = len(messages) - 1
    for number, (kind, flags, body) in enumerate(messages):
        asked = NLM_F_ACK if number == last else 0
        parts.append(_frame(kind, NLM_F_REQUEST | flags | asked, number + 1, body))
    if commit:
        parts.append(_frame(_BATCH_END, NLM_F_REQUEST, last + 2, edge))
    return b"".join(parts)


def _frame(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body


class NetfilterSocket:
    """A netlink socket of the caller's network namespace. Not for two threads at once."""

    def __init__(self) -> None:
        """OSError when the kernel has no netfilter netlink."""
        self._socket = socket.socket(AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._socket.setblocking(False)
        self._socket.bind((0, 0))
        # Errors then carry the header of the message they are about, not all of it.
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)

    def send(self, request: bytes) -> None:
        """Have the kernel process one batch; OSError with its errno when it refuses any message.

        Netlink is synchronous: all answers are there when the send returns, so nothing waits here.
        """
        if len(request) > LONGEST:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        self._socket.send(request)
        acknowledged = False
        failure = 0
        while True:
            try:
                answer = self._socket.recv(65536)
            except BlockingIOError:
                break
            for code in _answers(answer):
                acknowledged = True
                failure = failure or -code
        if failure:
            raise OSError(failure, os.strerror(failure))
        if not acknowledged:
            raise OSError(errno.EPROTO, "the kernel did not acknowledge the batch")

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Bodies (behind the nfgenmsg) of all answers to a list request; OSError when refused.

        The kernel fills a dump while it is read, so the reads never wait.
        """
        self._socket.send(
            _frame(kind, NLM_F_REQUEST | _NLM_F_DUMP, 1, struct.pack("=BBH", _INET, 0, 0) + body)
        )
        found: list[bytes] = []
        while True:
            data = self._socket.recv(65536)
            for answered, payload in _messages(data):
                if answered == _NLMSG_DONE:
                    return found
                if answered == _NLMSG_ERROR:
                    code = -_ERRNO.unpack_from(payload)[0]
                    raise OSError(code, os.strerror(code))
                found.append(payload[4:])

    def close(self) -> None:
        """Close the socket; safe to call twice."""
        self._socket.close()


def _answers(data: bytes) -> list[int]:
    """Error numbers (0 or negative) of the acknowledgements in one datagram."""
    return [_ERRNO.unpack_from(payload)[0] for kind, payload in _messages(data) if kind == _NLMSG_ERROR]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        yield kind, data[offset + 16 : offset + length]
        offset += max(16, length + 3 & ~3)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(kind, payload) of each attribute."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        yield kind & _KIND, data[offset + 4 : offset + length]
        offset += max(4, length + 3 & ~3)


def refused(error: OSError, operation: str) -> IsolatorError:
    """The kernel's errno as an IsolatorError."""
    if error.errno in (errno.EPERM, errno.EACCES):
        sentence = f"the kernel refused to {operation}: CAP_NET_ADMIN is needed in this network namespace"
        return IsolatorError(FailureCode.NO_PERMISSION, operation, sentence)
    sentence = f"the kernel refused to {operation}: {error.strerror}"
    return IsolatorError(FailureCode.KERNEL_REFUSED, operation, sentence)
