"""What this kernel can do, asked without changing anything: judged batches that are never committed."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from isolator.adapters.nftables.batch import AF_NETLINK, NETLINK_NETFILTER, NetfilterSocket
from isolator.adapters.nftables.queue_rule import probe_table, probe_text
from isolator.ports import Capability

_OWNER = 2
_PERSIST = 4
_SOCK_DESTROY = 21
_CONNTRACK_STATISTICS = 1 << 8 | 5

FIB = probe_text("fib daddr type local")
"""Whether rules can tell this host's own addresses from others."""

_NO_FIB = (
    "the kernel has no expression fib for family inet: load the module nft_fib_inet (modprobe nft_fib_inet), "
    "or boot a kernel built with CONFIG_NFT_FIB_INET, CONFIG_NFT_FIB_IPV4 and CONFIG_NFT_FIB_IPV6"
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """Answers of the kernel: the errno of each probe, 0 for yes."""

    table: int
    owner: int
    persist: int
    destroy: int
    conntrack: int
    cgroup2: Path | None


def kernel(netlink: NetfilterSocket | None) -> Kernel:
    """Ask; the caller holds the socket's lock.

    The most demanding table first: where it can be made, so can the plainer ones, and each aborted
    batch costs the kernel a grace period (some 8 ms).
    """
    persist = _judged(netlink, _OWNER | _PERSIST)
    owner = persist and _judged(netlink, _OWNER)
    return Kernel(
        table=owner and _judged(netlink, 0),
        owner=owner,
        persist=persist,
        destroy=_destroy(),
        conntrack=_conntrack(),
        cgroup2=cgroup2_mount(Path("/proc/self/mountinfo")),
    )


def passes(netlink: NetfilterSocket, request: bytes) -> bool:
    """Would the kernel take this batch?"""
    try:
        netlink.send(request)
    except OSError:
        return False
    return True


def _judged(netlink: NetfilterSocket | None, flags: int) -> int:
    if netlink is None:
        return errno.EPROTONOSUPPORT
    try:
        netlink.send(probe_table(flags))
    except OSError as error:
        return error.errno or errno.EPROTO
    return 0


def _destroy() -> int:
    """SOCK_DESTROY for a socket that cannot exist: ENOENT where the kernel knows how to destroy."""
    # struct inet_diag_req_v2 with family AF_INET, protocol TCP, ports 0 and no cookie.
    body = struct.pack("=BBBxI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0) + bytes(40) + b"\xff" * 8
    answer = _ask(4, _SOCK_DESTROY, body)
    return 0 if answer == errno.ENOENT else answer


def _conntrack() -> int:
    return _ask(NETLINK_NETFILTER, _CONNTRACK_STATISTICS, bytes(4), dump=True)


def _ask(protocol: int, kind: int, body: bytes, *, dump: bool = False) -> int:
    """Send one request and give the errno of the answer; 0 for data."""
    flags = 0x301 if dump else 0x5
    try:
        with socket.socket(AF_NETLINK, socket.SOCK_RAW, protocol) as asking:
            asking.setblocking(False)
            asking.bind((0, 0))
            asking.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)
            answer = asking.recv(65536)
    except OSError as error:
        return error.errno or errno.EPROTO
    if len(answer) >= 20 and struct.unpack_from("=H", answer, 4)[0] == 2:
        code: int = struct.unpack_from("=i", answer, 16)[0]
        return -code
    return 0


def cgroup2_mount(mountinfo: Path) -> Path | None:
    """Where cgroup v2 is mounted (proc(5), mountinfo); None when it is not."""
    try:
        lines = mountinfo.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split(" ")[4].encode().decode("unicode_escape"))
    return None


def capabilities(
    engine: str | None, found: Kernel, *, native_queue: bool, queue_target: bool, fib: bool
) -> tuple[Capability, ...]:
    """The answers as codes for `isolator doctor`; the first missing one explains the others."""
    return (
        *_required(engine, found, native_queue or queue_target, native_queue, fib),
        *_useful(engine, found),
    )


_NOTHING = "this host cannot be isolated"


def _required(
    engine: str | None, found: Kernel, fed: bool, native_queue: bool, fib: bool
) -> Iterator[Capability]:
    permitted = found.table not in (errno.EPERM, errno.EACCES)
    has = "CAP_NET_ADMIN is " + ("held" if permitted else "missing in this network namespace: run as root")
    yield Capability("permission", permitted, has, _NOTHING)
    missing = "neither libnftables.so.1 nor the program nft is here: install the package nftables"
    yield Capability("nftables", engine is not None, engine or missing, _NOTHING)
    yield Capability("inet_family", found.table == 0, _told("tables of family inet", found.table), _NOTHING)
    can_tell = "rules can tell which addresses are this host's own (expression fib)"
    yield Capability("fib", fib, can_tell if fib else _NO_FIB, _NOTHING)
    way = "the statement queue" if native_queue else "the xtables target NFQUEUE in a rule of our own"
    none = "the kernel has neither nft_queue nor the xtables target NFQUEUE"
    yield Capability("queue", fed, way if fed else none, "no name can be opened")


def _useful(engine: str | None, found: Kernel) -> Iterator[Capability]:
    yield Capability(
        "libnftables",
        engine == "libnftables",
        "commits run in this process" if engine == "libnftables" else "libnftables.so.1 is not here",
        "each commit starts a program (some 20 ms)",
        required=False,
    )
    yield Capability(
        "socket_destroy",
        found.destroy == 0,
        _told("ending local sockets (INET_DIAG_DESTROY)", found.destroy),
        "programs with forbidden connections notice at their next packet only",
        required=False,
    )
    yield Capability(
        "conntrack_netlink",
        found.conntrack == 0,
        _told("ending tracked connections", found.conntrack),
        "entries of ended flows stay until they time out; their packets are dropped all the same",
        required=False,
    )
    yield Capability(
        "cgroup2",
        found.cgroup2 is not None,
        f"mounted at {found.cgroup2}" if found.cgroup2 else "cgroup v2 is not mounted",
        "exclusions cannot be limited to a control group",
        required=False,
    )
    yield Capability(
        "owner_flag",
        found.owner == 0 and found.persist == 0,
        _told("tables that only their owner can change", found.owner or found.persist),
        "changes by others are repaired, not refused",
        required=False,
    )


def _told(what: str, code: int) -> str:
    return f"{what}: yes" if code == 0 else f"{what}: no ({errno.errorcode.get(code, code)})"
