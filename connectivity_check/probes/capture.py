"""What is seen on the wire during a run (`--trace`): headers of this host's packets, kept by peer.

The one file of the product that imports scapy, which is GPL-2 and an extra of its own: lazily, and only when
somebody asks for it (docs/adr/0001-licences.md). scapy's AsyncSniffer runs the loop in a thread, and scapy
dissects; the socket is ours (`packet_socket`).
"""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectivity_check.model import InputError, Json, Observation, Role, Step
from connectivity_check.probes.packet_socket import PacketSocket, open_packet_socket

if TYPE_CHECKING:
    from scapy.packet import Packet

MOST_HEADERS = 20_000
"""Some 100 bytes each. A run with 500 failed rows sends and gets about as many."""
MOST_SHOWN = 20
_SAME_PACKET_S = 0.02
"""A packet passes loopback, a bridge and its port, or a VLAN and its card, within this; TCP and
resolvers repeat after 200 ms at the earliest."""

_ICMP_ERRORS = {4: frozenset((3, 4, 5, 11, 12)), 6: frozenset((1, 2, 3, 4))}
_UNREACHABLE = {4: 3, 6: 1}
_SHORTEST = {4: 20, 6: 40}

_NO_SCAPY = "--trace needs scapy, which is not installed; install host-isolator[trace], or leave --trace out"


@dataclass(frozen=True, slots=True)
class Header:
    """One packet without its payload. `peer` and `port` say whose connection (or question) it belongs to."""

    at_s: float
    """Seconds since the capture began."""
    out: bool
    sender: str
    peer: str
    port: int
    ttl: int
    length: int
    """Of the IP packet, payload included."""
    flags: str = ""
    """As scapy writes them: S, SA, R, RA, FA."""
    icmp: tuple[int, int] | None = None
    """Type and code of an ICMP error that quotes a packet to the peer."""
    family: int = 4
    name: str = ""
    """The question of a DNS answer, lower case, without the dot at the end."""
    rcode: int | None = None


class PacketCapture:
    """A running capture; `open_capture` makes it. Closing twice does nothing."""

    def __init__(self, listener: Listener, begun_utc: float) -> None:
        self._listener, self._begun = listener, begun_utc
        self._headers: list[tuple[Header, ...]] = []
        self._recent: dict[bytes, float] = {}
        self._read = reader()
        self._lost = False
        self._sniffer: Any = None
        self._closed = False

    def start(self) -> None:
        """Listen from now on, in a thread of scapy's."""
        from scapy.sendrecv import AsyncSniffer

        ready = threading.Event()
        self._sniffer = AsyncSniffer(
            opened_socket=self._listener, store=False, prn=self.take, started_callback=ready.set
        )
        self._sniffer.start()
        ready.wait(5)

    def take(self, packet: Packet) -> None:
        """Keep what matters of one packet."""
        at, data = float(packet.time), bytes(packet.original)
        last = self._recent.get(data)
        self._recent[data] = at
        if last is not None and abs(at - last) < _SAME_PACKET_S:
            return
        if len(self._recent) > 1024:
            self._recent.clear()
        try:
            found = self._read(packet, at - self._begun)
        except Exception:  # noqa: BLE001  # strangers' bytes; scapy would end the capture, and nobody would know
            self._lost = True
            return
        if len(self._headers) >= MOST_HEADERS:
            self._lost = True
        elif found:
            self._headers.append(found)

    async def finish(self) -> None:
        """End the capture, with what still waits in the kernel; what was kept can be asked for afterwards."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """End it now."""
        if self._closed:
            return
        self._closed = True
        sniffer, self._sniffer = self._sniffer, None
        if sniffer is not None and sniffer.running:
            sniffer.stop()
        for packet in self._listener.rest():
            self.take(packet)
        self._lost = self._listener.lost() or self._lost
        self._listener.close()

    def packets(self, address: str, port: int, name: str = "") -> Observation:
        """Give what was exchanged with one address and port; with `name`, its DNS answers for that name."""
        mine = [
            each
            for views in self._headers
            for each in views
            if (each.peer, each.port) == (address.partition("%")[0], port)
            and (not name or not each.name or each.name == name.lower().rstrip("."))
        ]
        return Observation(
            Step.CONNECT, None, _evidence(address, port, mine, self._lost), 0.0, role=Role.PACKETS
        )


def _evidence(address: str, port: int, mine: list[Header], lost: bool) -> dict[str, Json]:
    back = [each for each in mine if not each.out]
    evidence: dict[str, Json] = {
        "address": address,
        "port": port,
        "packets": [_shown(each) for each in mine[:MOST_SHOWN]],
        "syns": sum(each.out and each.flags == "S" for each in mine),
    }
    first: dict[str, Json] = {
        "rst_ttl": next((each.ttl for each in back if "R" in each.flags), None),
        "syn_ack_ttl": next((each.ttl for each in back if each.flags.startswith("SA")), None),
        "icmp_from": next(
            (each.sender for each in back if each.icmp and each.icmp[0] == _UNREACHABLE[each.family]), None
        ),
    }
    evidence.update({key: value for key, value in first.items() if value is not None})
    if lost:
        evidence["lost"] = True
    return evidence


def _shown(header: Header) -> dict[str, Json]:
    shown: dict[str, Json] = {
        "ms": round(header.at_s * 1000, 3),
        "direction": "out" if header.out else "in",
        "from": header.sender,
        "ttl": header.ttl,
        "length": header.length,
    }
    if header.icmp:
        shown["icmp"] = {"type": header.icmp[0], "code": header.icmp[1]}
    elif header.rcode is not None:
        shown["rcode"] = header.rcode
    else:
        shown["flags"] = header.flags
    return shown


def reader() -> Callable[[Packet, float], tuple[Header, ...]]:
    """Give the function that makes headers of a dissected packet: none, or one for each end it may belong to.

    Which end of a TCP packet is ours is not known here (addresses change during a run, loopback has both), so
    it is kept for both and asked for by the far one.
    """
    from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror
    from scapy.layers.inet6 import IPerror6, IPv6

    def read(packet: Packet, at_s: float) -> tuple[Header, ...]:
        six = isinstance(packet, IPv6)
        if not six and not isinstance(packet, IP):
            return ()
        family, src, dst = 6 if six else 4, str(packet.src), str(packet.dst)
        ttl = int(packet.hlim if six else packet.ttl)
        length = int(packet.plen) + 40 if six else int(packet.len)
        above = packet.payload
        if isinstance(above, TCP):
            flags = str(above.flags)
            there = Header(at_s, True, src, dst, int(above.dport), ttl, length, flags, family=family)
            back = Header(at_s, False, src, src, int(above.sport), ttl, length, flags, family=family)
            return there, back
        if isinstance(above, UDP):
            name, code = _answer(bytes(above.payload.original))
            return (
                Header(at_s, False, src, src, int(above.sport), ttl, length, "", None, family, name, code),
            )
        quoted = packet.getlayer(IPerror6 if six else IPerror)
        if quoted is None or (not six and not isinstance(above, ICMP)):
            return ()
        kind, code = int(above.type), int(above.code)
        ports = bytes(quoted.payload.original)[:4]  # RFC 792 promises 8 bytes, not a whole TCP header
        if len(ports) < 4 or kind not in _ICMP_ERRORS[family]:
            return ()
        port = struct.unpack("!HH", ports)[1]
        return (Header(at_s, False, src, str(quoted.dst), port, ttl, length, "", (kind, code), family),)

    return read


def _answer(message: bytes) -> tuple[str, int]:
    """Question and rcode of a DNS answer; "" when there is no question that can be read."""
    import dns.exception
    import dns.name

    if len(message) < 12:
        return "", 0
    try:
        name, _ = dns.name.from_wire(message, 12)
    except dns.exception.DNSException:
        return "", message[3] & 15
    return name.to_text(omit_final_dot=True).lower(), message[3] & 15


class Listener:
    """A packet socket as AsyncSniffer wants one: something with recv, select, fileno and close."""

    def __init__(self, sock: PacketSocket) -> None:
        from scapy.layers.inet import IP
        from scapy.layers.inet6 import IPv6
        from scapy.supersocket import SuperSocket

        self._sock, self._kinds = sock, {4: IP, 6: IPv6}
        self.select = SuperSocket.select
        self.fileno, self.lost, self.close = sock.fileno, sock.lost, sock.close

    def recv(self, *_: object, **__: object) -> Packet | None:
        """Give the next packet, dissected, with the kernel's time; None when there is none or it is no IP."""
        data, at = self._sock.receive()
        kind = self._kinds.get(data[0] >> 4) if data else None
        if kind is None or len(data) < _SHORTEST[data[0] >> 4]:
            return None
        packet: Packet = kind(data)
        packet.time = at
        return packet

    def rest(self) -> Iterator[Packet]:
        """Give what the kernel still holds."""
        for _ in range(MOST_HEADERS):
            packet = self.recv()
            if packet is None:
                return
            yield packet


def open_capture() -> PacketCapture:
    """Give a capture that runs. Raises InputError without scapy, without CAP_NET_RAW, and not on Linux."""
    # scapy speaks of missing routes and such on standard error, which belongs to the progress bar.
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    try:
        import scapy.sendrecv  # noqa: F401
    except ImportError:
        raise InputError(_NO_SCAPY) from None
    sock = open_packet_socket()
    try:
        capture = PacketCapture(Listener(sock), time.time())
        capture.start()
    except BaseException:
        sock.close()
        raise
    return capture
