"""Two namespaces and two cables: sends the rows of the packet table for real and tells what became of them.

The device has an uplink and a container network; both cables end in one namespace outside, where a sniffer
listens and which never speaks by itself. Tables of the bench's own, far before and after the product's, keep
the device's kernel from answering what it gets (packets without the bench's mark) and count what gets past
the product's rules.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType

from isolator.adapters.nftables import NftablesBackend
from isolator.adapters.nftables.engine import Library
from isolator.core import plan
from isolator.core.compiler import QUEUE_CHAINS
from isolator.model.flow import Hook
from isolator.model.ruleset import TABLE, Ruleset
from tests.lab import kernel
from tests.lab.failure import LabError
from tests.lab.leftovers import NETNS_DIRECTORY, own_name, remove_namespaces
from tests.netns.packet_table import Row
from tests.netns.packet_world import V4, V6, learned

_SERIAL = 900
_PATIENCE_S = 2.0
_SILENCE_S = 0.05
_MACS = {"up0": "02:00:00:00:00:10", "lan0": "02:00:00:00:00:20", "out0": "02:00:00:00:00:01"} | {
    "out1": "02:00:00:00:00:02"
}
_QUIET_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/fwmark_reflect": "1",
    "net/ipv6/fwmark_reflect": "1",
    "net/ipv4/icmp_ratelimit": "0",
    "net/ipv6/icmp/ratelimit": "0",
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/addr_gen_mode": "1",
}
"""Rates unlimited, so that each refusal is told; the kernel's replies carry the mark of what they answer."""

_CABLES = f"""
link add up0 address {_MACS["up0"]} type veth peer name out0 address {_MACS["out0"]} netns {{outside}}
link add lan0 address {_MACS["lan0"]} type veth peer name out1 address {_MACS["out1"]} netns {{outside}}
addr add 192.0.2.10/32 dev up0
addr add 2001:db8:1::10/128 dev up0 nodad
addr add fe80::10/64 dev up0 nodad
addr add 10.77.0.1/32 dev lan0
addr add fd77::1/128 dev lan0 nodad
link set lo up
link set up0 up
link set lan0 up
neigh add 192.0.2.1 lladdr {_MACS["out0"]} dev up0 nud permanent
neigh add fe80::1 lladdr {_MACS["out0"]} dev up0 nud permanent
neigh add fe80::67 lladdr {_MACS["out0"]} dev up0 nud permanent
neigh add fe80::68 lladdr {_MACS["out0"]} dev up0 nud permanent
neigh add 10.77.0.2 lladdr {_MACS["out1"]} dev lan0 nud permanent
neigh add fd77::2 lladdr {_MACS["out1"]} dev lan0 nud permanent
route add default via 192.0.2.1 dev up0 onlink
route add 10.77.0.2/32 dev lan0
neigh add 2001:db8:1::77 lladdr {_MACS["out0"]} dev up0 nud permanent
route add 2001:db8:1::77/128 dev up0
route add ::/0 via fe80::1 dev up0
route add fd77::2/128 dev lan0
"""

_JUDGE = """
add table inet bench
add counter inet bench out
add counter inet bench in
add counter inet bench forward
add counter inet bench loopback
add chain inet bench silence { type filter hook output priority -400; }
add rule inet bench silence oif != "lo" meta mark != { 0x1, 0x100001 } drop
add chain inet bench output { type filter hook output priority 400; }
add rule inet bench output oif != "lo" counter name out
add chain inet bench input { type filter hook input priority 400; }
add rule inet bench input iif "lo" counter name loopback
add rule inet bench input iif != "lo" counter name in
add chain inet bench forward { type filter hook forward priority 400; }
add rule inet bench forward counter name forward
"""
_SILENT_OUTSIDE = """
add table inet bench
add chain inet bench output { type filter hook output priority -400; policy drop; }
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one packet: did it pass the rules, which reasons moved, was it seen on the wire."""

    passed: bool
    moved: Mapping[str, int]
    on_wire: bool


@dataclass
class PacketBench:
    """The namespaces; a context manager. Everything runs in threads that live in one of them."""

    _frames: list[bytes] = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> PacketBench:
        name = own_name(_SERIAL)
        self.device, self.outside = name.of("device"), name.of("outside")
        remove_namespaces((self.device, self.outside))
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the namespaces with all in them."""
        for each in self._open:
            each.close()
        remove_namespaces((self.device, self.outside))

    def _build(self) -> None:
        for namespace in (self.device, self.outside):
            _run(["ip", "netns", "add", namespace])
            with inside(namespace):
                kernel.write_sysctls(_QUIET_SYSCTLS)
        _run(["ip", "-n", self.device, "-batch", "-"], _CABLES.format(outside=self.outside))
        _run(["ip", "netns", "exec", self.outside, "nft", "-f", "-"], _SILENT_OUTSIDE)
        for cable in ("out0", "out1"):
            _run(["ip", "-n", self.outside, "link", "set", cable, "up"])
        _run(["ip", "netns", "exec", self.device, "nft", "-f", "-"], _JUDGE)
        with inside(self.outside):
            self._wire = {cable: _listening(cable) for cable in ("out0", "out1")}
        self._open += self._wire.values()

    def isolate(self, ruleset: Ruleset, *, feed_queue: bool) -> None:
        """Put the ruleset in force with what was learned; without the feeding rules nobody judges."""
        with inside(self.device):
            backend = NftablesBackend()
            backend.apply(plan.prepare(ruleset, learned()))
            backend.apply(plan.arm(ruleset))
            backend.close()
        if not feed_queue:
            for chain in QUEUE_CHAINS:
                _run(["ip", "netns", "exec", self.device, "nft", "flush", "chain", "inet", TABLE, chain])

    def send(self, rows: tuple[Row, ...]) -> dict[str, Seen]:
        """Send the rows one after the other and tell what became of each, by name."""
        found: dict[str, tuple[bool, dict[str, int]]] = {}
        with inside(self.device), contextlib.closing(Library()) as nft:
            for row in rows:
                before = _counters(nft)
                self._send(row)
                moved = _moved(nft, before, row)
                passed = moved.pop(("bench", _WAY[row.packet.hook, row.packet.loopback]), 0) > 0
                found[row.name] = passed, {name: n for (table, name), n in moved.items() if table == TABLE}
        frames = self._sniffed()
        return {
            row.name: Seen(*found[row.name], on_wire=any(row.marker in frame for frame in frames))
            for row in rows
        }

    def _send(self, row: Row) -> None:
        if row.packet.hook is Hook.OUTPUT:
            _send_routed(row)
            return
        cable, near = ("out1", "lan0") if row.packet.source in _BEHIND else ("out0", "up0")
        kind = b"\x08\x00" if row.packet.source.version == 4 else b"\x86\xdd"
        self._wire[cable].send(_mac(near) + _mac(cable) + kind + row.wire)

    def _sniffed(self) -> list[bytes]:
        """All frames seen outside; a last one of our own on each cable shows that nothing is under way."""
        end = b"bench-ends-here-" + os.urandom(8)
        with inside(self.device):
            for cable in ("up0", "lan0"):
                with _listening(cable) as sender:
                    sender.send(b"\xff" * 12 + b"\x88\xb5" + end.ljust(46, b"\0"))
        for wire in self._wire.values():
            while not (self._frames and end in self._frames[-1]):
                if not select.select([wire], [], [], _PATIENCE_S)[0]:
                    raise TimeoutError("the cable carries nothing")
                self._frames.append(wire.recv(4096))
            self._frames.pop()
        return self._frames


_BEHIND = (V4.container, V6.container)
_WAY = {
    (Hook.OUTPUT, False): "out",
    (Hook.OUTPUT, True): "loopback",
    (Hook.INPUT, False): "in",
    (Hook.FORWARD, False): "forward",
}


def _moved(nft: Library, before: Mapping[tuple[str, str], int], row: Row) -> dict[tuple[str, str], int]:
    """Which counters moved by how much, read when some have; a row that moves none is waited for in vain."""
    deadline = time.monotonic() + (_PATIENCE_S if row.moves else _SILENCE_S)
    while (after := _counters(nft)) == before and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.001)  # a reply of the kernel's may move one more
    after = _counters(nft)
    return {name: after[name] - before[name] for name in after if after[name] != before[name]}


def _counters(nft: Library) -> dict[tuple[str, str], int]:
    items = json.loads(nft.listing("list counters"))["nftables"]
    found = [item["counter"] for item in items if "counter" in item]
    return {(each["table"], each["name"]): each["packets"] for each in found}


def _send_routed(row: Row) -> None:
    """Through the device's own stack, by a raw socket of the row's user; the headers are the row's."""
    packet = row.packet
    six = packet.source.version == 6
    with _as_user(packet.uid or 0):
        sender = socket.socket(
            socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW
        )
    # A packet that is dropped on its way out fails with EPERM: what became of it, the counters tell.
    with sender, contextlib.suppress(PermissionError):
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, row.mark)
        if not six:
            sender.sendto(row.wire, (str(packet.destination), 0))
            return
        local = packet.destination.is_link_local or packet.destination.is_multicast
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        scope = socket.if_nametoindex("up0") if local else 0
        sender.sendto(row.wire, (str(packet.destination), 0, 0, scope))


@contextlib.contextmanager
def _as_user(uid: int) -> Iterator[None]:
    """Sockets opened meanwhile belong to that user (setfsuid(2) keeps the right to open raw ones)."""
    _libc.setfsuid(uid)
    try:
        yield
    finally:
        _libc.setfsuid(os.geteuid())


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """The calling thread in that network namespace, and back again."""
    with open("/proc/thread-self/ns/net") as home, open(NETNS_DIRECTORY / namespace) as there:
        kernel.setns(there.fileno(), kernel.CLONE_NEWNET)
        try:
            yield
        finally:
            kernel.setns(home.fileno(), kernel.CLONE_NEWNET)


def _listening(interface: str) -> socket.socket:
    """A raw socket on an interface of the thread's namespace, with room for the whole table."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 * 1024 * 1024)
    made.bind((interface, _ALL_PROTOCOLS))
    return made


def _mac(interface: str) -> bytes:
    return bytes.fromhex(_MACS[interface].replace(":", ""))


def _run(command: list[str], text: str = "") -> None:
    ended = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise LabError("bench.refused", " ".join(command), ended.stderr.strip())


_ALL_PROTOCOLS = 3
_SO_RCVBUFFORCE = 33
_libc = ctypes.CDLL(None)
