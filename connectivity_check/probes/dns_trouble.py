"""How asking a resolver can fail without an answer: system errors and ICMP, as values."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from connectivity_check.failure import Seen
from connectivity_check.probes import error_queue
from connectivity_check.probes.error_queue import IcmpError

_SEEN = {
    errno.ECONNREFUSED: Seen.CONNECTION_REFUSED,
    errno.ECONNRESET: Seen.CONNECTION_REFUSED,  # how Windows reports a port unreachable for UDP
    errno.EHOSTUNREACH: Seen.HOST_UNREACHABLE,
    errno.ENETUNREACH: Seen.NETWORK_UNREACHABLE,
    errno.ETIMEDOUT: Seen.TIMEOUT,
    errno.EPERM: Seen.PERMISSION_DENIED,
    errno.EACCES: Seen.PERMISSION_DENIED,
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer."""

    seen: Seen
    errno: str = ""
    """Symbolic name of the system's error, when there was one."""
    icmp: IcmpError | None = None
    error: str = ""
    """The reason in words, for `Seen.OTHER`."""


SILENCE: Final = Trouble(Seen.TIMEOUT)


def trouble_of(error: OSError, icmp: IcmpError | None = None) -> Trouble:
    """Give the trouble for a system error; codes that have no name of their own are `Seen.OTHER`."""
    code = error.errno or 0
    seen = _SEEN.get(code, Seen.OTHER)
    if icmp is not None and seen is Seen.PERMISSION_DENIED:
        seen = Seen.HOST_UNREACHABLE  # a router forbade it (ICMPv6 1/1 arrives as EACCES), not this device
    reason = str(error) or type(error).__name__
    return Trouble(seen, errno.errorcode.get(code, ""), icmp, reason if seen is Seen.OTHER else "")


def queued_troubles(udp: socket.socket) -> Iterator[tuple[bytes, Trouble]]:
    """Empty the socket's error queue: the datagram that was refused, as far as it was quoted, and why.

    To be run to its end after every error: as long as something is in the queue, the event loop finds the
    socket ready. Errors about a datagram's size are left out, the kernel deals with those.
    """
    while (queued := _next_queued(udp)) is not None:
        datagram, notes = queued
        for note in notes:
            icmp = error_queue.parse(note)
            code = int.from_bytes(note[:4], sys.byteorder)  # sock_extended_err begins with ee_errno
            if icmp is not None and code != errno.EMSGSIZE:
                yield datagram, trouble_of(OSError(code, ""), icmp)


def _next_queued(udp: socket.socket) -> tuple[bytes, list[bytes]] | None:
    found = None
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # EAGAIN: the queue is empty
            datagram, ancillary, _, _ = udp.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
            found = datagram, [data for _, _, data in ancillary]
    return found
