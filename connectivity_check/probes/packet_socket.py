"""The socket that sees this host's packets: all interfaces, never promiscuous, filtered by the kernel.

AF_PACKET (packet(7)); needs CAP_NET_RAW. The filter is classic BPF, written out, because compiling one would
need libpcap.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import time
from typing import Any

from connectivity_check.model import InputError

SNAP = 320
"""Bytes of a packet that the kernel copies: headers, and the longest question of a DNS answer."""

# linux/if_packet.h, asm-generic/socket.h, linux/filter.h; the socket module of 3.11 does not name them.
_ETH_P_ALL, _SOL_PACKET, _PACKET_STATISTICS = 3, 263, 6
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS, _BUFFER = 26, 35, 4 * 1024 * 1024
_FILTER = (
    (0x28, 0, 0, 0xFFFFF000),  # ldh  protocol of the frame (SKF_AD_PROTOCOL)
    (0x15, 7, 0, 0x86DD),  # jeq  IPv6 -> 9
    (0x15, 0, 16, 0x0800),  # jeq  IPv4, else drop
    (0x28, 0, 0, 6),  # ldh  flags and fragment offset
    (0x45, 14, 0, 0x1FFF),  # jset a later fragment has no header -> drop
    (0xB1, 0, 0, 0),  # ldxb length of the IPv4 header
    (0x30, 0, 0, 9),  # ldb  protocol
    (0x15, 10, 0, 1),  # jeq  ICMP -> accept
    (0x05, 0, 0, 3),  # ja   -> 12
    (0x01, 0, 0, 40),  # ldx  length of the IPv6 header; extension headers are not followed
    (0x30, 0, 0, 6),  # ldb  next header
    (0x15, 6, 0, 58),  # jeq  ICMPv6 -> accept
    (0x15, 0, 2, 6),  # jeq  TCP
    (0x50, 0, 0, 13),  # ldb  its flags
    (0x45, 3, 4, 0x07),  # jset FIN, SYN or RST -> accept, else drop
    (0x15, 0, 3, 17),  # jeq  UDP, else drop
    (0x48, 0, 0, 0),  # ldh  source port
    (0x15, 0, 1, 53),  # jeq  53 -> accept, else drop
    (0x06, 0, 0, SNAP),  # accept
    (0x06, 0, 0, 0),  # drop
)
_NO_RIGHT = (
    "--trace needs the right to see packets, which this user does not have; run it as root or with "
    "CAP_NET_RAW, or leave --trace out"
)


class PacketSocket:
    """Packets from the IP header on, cut to `SNAP` bytes: TCP with SYN, RST or FIN, ICMP, DNS answers."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock: Any = sock  # recvmsg is not declared for Windows

    def fileno(self) -> int:
        """Give the descriptor, for select; -1 when closed."""
        return int(self._sock.fileno())

    def receive(self) -> tuple[bytes, float]:
        """Give the next packet and the kernel's time for it (UTC); b"" when there is none.

        An interface that goes down is told as an error of the socket, once; the others go on, so it counts as
        nothing.
        """
        try:
            data, told, _, _ = self._sock.recvmsg(SNAP, 64)
        except OSError:
            return b"", 0.0
        return data, _time_of(told)

    def lost(self) -> bool:
        """Whether the kernel dropped packets that nobody took in time, since this was last asked."""
        try:
            counted = self._sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        except OSError:
            return True  # somebody closed it: nothing came since
        return bool(struct.unpack("II", counted)[1])

    def close(self) -> None:
        """Close it; twice does nothing."""
        self._sock.close()


def _time_of(told: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in told:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(data) == struct.calcsize("@ll"):
            seconds, nanoseconds = struct.unpack("@ll", data)
            return float(seconds) + float(nanoseconds) / 1e9
    return time.time()


def open_packet_socket() -> PacketSocket:
    """Give the socket, listening. Raises InputError without CAP_NET_RAW, and on systems that have none."""
    family: int | None = getattr(socket, "AF_PACKET", None)
    if family is None:
        raise InputError("--trace works on Linux only; leave it out: the verdicts do not need it")
    try:
        # SOCK_DGRAM: the kernel takes the link layer off, whatever it is.
        sock = socket.socket(family, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    except PermissionError:
        raise InputError(_NO_RIGHT) from None
    except OSError as error:
        raise InputError(f"--trace cannot open a packet socket: {error.strerror}; leave it out") from None
    try:
        _set_up(sock)
    except OSError as error:
        sock.close()
        raise InputError(f"--trace cannot set up its packet socket: {error.strerror}; leave it out") from None
    return PacketSocket(sock)


def _set_up(sock: socket.socket) -> None:
    code = b"".join(struct.pack("HBBI", *each) for each in _FILTER)
    program = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("HP", len(_FILTER), ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, pointer)
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:  # what came before the filter was in place
            sock.recv(1)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
