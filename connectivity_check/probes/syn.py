"""One TCP connection attempt, and everything the system will tell about how it ended.

The one primitive under `connect`, the hop walk and the distance: a non-blocking socket on the running loop,
cheap enough for hundreds at once. On Linux it reads the socket error queue and TCP_INFO; elsewhere only
the error number is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
import sys
from dataclasses import dataclass

from connectivity_check.failure import Seen
from connectivity_check.ports import Clock
from connectivity_check.probes import error_queue
from connectivity_check.probes.error_queue import IcmpError

# linux/in.h, linux/in6.h, linux/tcp.h; the socket module of 3.11 does not name the first three.
_IP_BIND_ADDRESS_NO_PORT, _IP_MINTTL, _IPV6_MINHOPCOUNT, _TCP_INFO = 24, 21, 73, 11
_TCP_INFO_SIZE = 104
_WINDOWS_CODES = {
    121: errno.ETIMEDOUT,
    1225: errno.ECONNREFUSED,
    1231: errno.ENETUNREACH,
    1232: errno.EHOSTUNREACH,
}
"""What overlapped ConnectEx reports (winerror.h) in place of the WSAE number."""
_WINDOWS_INSTANT_S = 0.005

_SEEN = {
    errno.ETIMEDOUT: Seen.TIMEOUT,
    errno.ECONNREFUSED: Seen.CONNECTION_REFUSED,
    errno.ECONNRESET: Seen.CONNECTION_RESET,
    errno.EHOSTUNREACH: Seen.HOST_UNREACHABLE,
    errno.ENETUNREACH: Seen.NETWORK_UNREACHABLE,
    errno.EPERM: Seen.PERMISSION_DENIED,
    errno.EACCES: Seen.PERMISSION_DENIED,
}


@dataclass(frozen=True, slots=True)
class SynOptions:
    """How an attempt differs from a plain connect(); None leaves the system's value."""

    source: str | None = None
    """Own address to bind to; left out when it is of the other IP version."""
    mss: int | None = None
    ttl: int | None = None
    min_ttl: int | None = None
    """Answers that arrive with a smaller TTL are ignored by the kernel (IP_MINTTL, RFC 5082)."""


@dataclass(frozen=True, slots=True)
class SynAnswer:
    """How it ended. `sock` is set, and the caller's to close, exactly when `error` is None."""

    took_s: float
    error: int | None = None
    """errno; ETIMEDOUT also when our own budget was used up."""
    instant: bool = False
    """The error came from connect() itself, before a packet could return."""
    icmp: IcmpError | None = None
    syns: int | None = None
    unsent: bool = False
    """TCP repeated the SYN and every repeat was refused by this system's own output path: nothing left
    (tcpi_total_retrans grows, tcpi_retrans stays 0). A filter in the output chain does that."""
    source: str = ""
    sock: socket.socket | None = None

    @property
    def kind(self) -> str:
        """`syn_ack` or `rst` from whoever answers, `icmp`, `silence`, or `local` (this system's refusal)."""
        if self.sock is not None:
            return "syn_ack"
        if self.icmp is not None:
            return "icmp"
        if self.instant or self.unsent:
            return "local"
        return {errno.ECONNREFUSED: "rst", errno.ECONNRESET: "rst", errno.ETIMEDOUT: "silence"}.get(
            self.error or 0, "local"
        )

    @property
    def seen(self) -> Seen | None:
        """The failure's name; None when connected."""
        if self.error is None:
            return None
        if self.unsent:
            return Seen.PERMISSION_DENIED
        seen = _SEEN.get(self.error, Seen.OTHER)
        if seen is Seen.PERMISSION_DENIED and self.icmp is not None:
            return Seen.HOST_UNREACHABLE  # ICMPv6 1/1, 1/5 and 1/6 are EACCES, but not this device's filter
        return seen

    @property
    def errno_name(self) -> str:
        """Symbolic, such as ECONNREFUSED; "" when connected."""
        return "" if self.error is None else errno_name(self.error)


def errno_name(number: int) -> str:
    """Give the POSIX name of an error number, the number as text when it has none."""
    return errno.errorcode.get(number, str(number)).removeprefix("WSA")


async def send_syn(
    address: str, port: int, *, clock: Clock, budget_s: float, options: SynOptions = SynOptions()
) -> SynAnswer:
    """Try to connect to an IP literal (a zone is fine) and tell how it ended.

    Never raises for what the network or this host does; socket.gaierror when `address` is no literal.
    Cancelling closes the socket.
    """
    # As bytes: of a text the codec for international names is asked, which takes longer than all the rest.
    family, _, _, _, peer = socket.getaddrinfo(
        address.encode(), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    began = clock.now()
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:  # no descriptors left, or no such family here
        return SynAnswer(clock.now() - began, error.errno, instant=True)
    try:
        answer = await _attempt(sock, peer, options, clock, began, budget_s)
    except BaseException:
        sock.close()
        raise
    if answer.sock is None:
        sock.close()
    return answer


async def _attempt(
    sock: socket.socket,
    peer: tuple[object, ...],
    options: SynOptions,
    clock: Clock,
    began: float,
    budget_s: float,
) -> SynAnswer:
    sock.setblocking(False)
    try:
        _prepare(sock, options)
        error, instant = await _connect(sock, peer, budget_s)
    except OSError as refusal:  # the source address is not ours, say
        return SynAnswer(clock.now() - began, refusal.errno, instant=True)
    took = clock.now() - began
    syns, unsent = _syn_count(sock)
    source = _own_address(sock)
    if error is None:
        error_queue.enable(sock, on=False)
        return SynAnswer(took, syns=syns, source=source, sock=sock)
    icmp = None if instant else error_queue.read(sock)
    return SynAnswer(took, error, instant, icmp, None if instant else syns, unsent and icmp is None, source)


def _prepare(sock: socket.socket, options: SynOptions) -> None:
    """Set what must stand before the SYN goes out."""
    six = sock.family == socket.AF_INET6
    error_queue.enable(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.mss is not None and sys.platform != "win32":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, options.mss)
    if options.ttl is not None:
        level, name = (
            (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
        )
        sock.setsockopt(level, name, options.ttl)
    if options.min_ttl is not None:
        level, name = (socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT) if six else (socket.IPPROTO_IP, _IP_MINTTL)
        sock.setsockopt(level, name, options.min_ttl)
    if options.source is not None and (":" in options.source) == six:
        if sys.platform == "linux":
            # The port is chosen at connect(), so hundreds of attempts do not fight for ephemeral ports.
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((options.source, 0))


async def _connect_posix(
    sock: socket.socket, peer: tuple[object, ...], budget_s: float
) -> tuple[int | None, bool]:
    """Give (errno or None, whether connect() itself refused)."""
    loop = asyncio.get_running_loop()
    error = sock.connect_ex(peer)
    if error == 0:
        return None, False
    if error not in (errno.EINPROGRESS, errno.EAGAIN):
        return error, True
    ended: asyncio.Future[bool] = loop.create_future()

    def end(in_time: bool) -> None:
        if not ended.done():
            ended.set_result(in_time)

    timer = loop.call_later(max(budget_s, 0.0), end, False)
    loop.add_writer(sock.fileno(), end, True)
    try:
        in_time = await ended
    finally:
        loop.remove_writer(sock.fileno())
        timer.cancel()
    if not in_time:
        return errno.ETIMEDOUT, False
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or None, False


async def _connect_windows(
    sock: socket.socket, peer: tuple[object, ...], budget_s: float
) -> tuple[int | None, bool]:
    """The same over the proactor, which has no add_writer; what counts as instant is guessed by time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(budget_s):
            await loop.sock_connect(sock, peer)
    except TimeoutError:
        return errno.ETIMEDOUT, False
    except OSError as error:
        number = _WINDOWS_CODES.get(getattr(error, "winerror", 0) or 0, error.errno)
        refused = number == errno.ECONNREFUSED
        return number, not refused and loop.time() - began < _WINDOWS_INSTANT_S
    return None, False


_connect = _connect_windows if sys.platform == "win32" else _connect_posix


def _syn_count(sock: socket.socket) -> tuple[int | None, bool]:
    """Give (SYNs sent, whether none of the repeats could leave this system) from TCP_INFO (linux/tcp.h)."""
    info = b""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_SIZE)
    if len(info) < _TCP_INFO_SIZE:
        return None, False
    retransmits = info[2]
    (outstanding,) = struct.unpack_from("=I", info, 36)
    (total,) = struct.unpack_from("=I", info, 100)
    return total + 1, bool(retransmits and total and not outstanding)


def _own_address(sock: socket.socket) -> str:
    try:
        own = str(sock.getsockname()[0])
    except OSError:
        return ""
    return "" if own in ("0.0.0.0", "::") else own  # noqa: S104 - compared, not bound
