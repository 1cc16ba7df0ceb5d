"""A netlink conversation about flows: list them, then act on some (netlink(7))."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from types import TracebackType

from isolator.model.flow import Address

_AF_NETLINK = 16
_REQUEST = 0x1
_DUMP = 0x300
_ERROR = 2
_DONE = 3
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_KIND = 0x3FFF
_SOL_NETLINK = 270
_CAP_ACK = 10
_MAPPED = bytes(10) + b"\xff\xff"
_AT_ONCE = 64
"""Requests in one send; refusals of all of them fit the smallest receive buffer."""

_LONGEST = 65536
"""Bytes in one read; the kernel sends at most 32 KiB of a list at once."""


class Conversation:
    """One netlink socket of the calling thread's network namespace; a context manager."""

    def __init__(self, protocol: int) -> None:
        """OSError when the kernel does not speak the protocol."""
        self._socket = socket.socket(_AF_NETLINK, socket.SOCK_RAW, protocol)
        # The kernel works while we send, so whatever it has to say is there when we read.
        self._socket.setblocking(False)
        self._socket.bind((0, 0))
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Payload of each listed item; OSError when the kernel refuses to list."""
        self._socket.send(_frame(kind, _REQUEST | _DUMP, 0, body))
        while True:
            for answered, payload in _messages(self._socket.recv(_LONGEST)):
                if answered in (_DONE, _ERROR):
                    _raise(-_ERRNO.unpack_from(payload)[0] if len(payload) >= 4 else 0)
                    return
                yield payload

    def act(self, kind: int, bodies: Sequence[bytes]) -> int:
        """Make one request per body and give how many the kernel carried out.

        A thing that is gone already counts as not carried out. One refusal does not spare the rest;
        OSError with the refusal's errno when nothing at all was carried out.
        """
        done = refusal = 0
        for start in range(0, len(bodies), _AT_ONCE):
            part = bodies[start : start + _AT_ONCE]
            frames = (_frame(kind, _REQUEST, number, body) for number, body in enumerate(part))
            self._socket.send(b"".join(frames))
            codes = self._refusals()
            done += len(part) - len(codes)
            refusal = next((code for code in codes if code != errno.ENOENT), refusal)
        if not done:
            _raise(refusal)
        return done

    def _refusals(self) -> list[int]:
        """Error numbers of the requests just sent; the kernel is silent about those it carried out."""
        codes: list[int] = []
        while True:
            try:
                answers = _messages(self._socket.recv(_LONGEST))
            except BlockingIOError:
                return codes
            codes += [-_ERRNO.unpack_from(payload)[0] for kind, payload in answers if kind == _ERROR]


def _raise(code: int) -> None:
    if code > 0:
        raise OSError(code, os.strerror(code))


def _frame(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    padding = b"\0" * (-len(body) % 4)
    return _HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body + padding


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + 16 <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        yield kind, data[offset + 16 : offset + length]
        offset += (length + 3 & ~3) or 16


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by kind, without their headers; of equal kinds the last."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        found[kind & _KIND] = data[offset + 4 : offset + length]
        offset += (length + 3 & ~3) or 4
    return found


@lru_cache(maxsize=8192)
def address(packed: bytes) -> Address:
    """The address in these 4 or 16 bytes; one of IPv4 also when it comes mapped into IPv6.

    Remembered, because flows share their ends and making an address costs more than the look-up.
    """
    if len(packed) == 4:
        return IPv4Address(packed)
    # RFC 4291, section 2.5.5.2.
    return IPv4Address(packed[12:]) if packed.startswith(_MAPPED) else IPv6Address(packed)


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute as it goes into a request, padded."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + b"\0" * (-len(payload) % 4)
