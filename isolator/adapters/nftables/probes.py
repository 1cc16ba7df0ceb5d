"""What this kernel can do, asked without changing anything: judged batches that are never committed."""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from isolator.adapters.nftables.batch import AF_NETLINK, NETLINK_NETFILTER, NetfilterSocket
from isolator.adapters.nftables.queue_rule import probe_table
from isolator.ports import Capability

_OWNER = 2
_PERSIST = 4
_SOCK_DESTROY = 21
_CONNTRACK_STATISTICS = 1 << 8 | 5


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
    """Ask; the caller holds the socket's lock."""
    return Kernel(
        table=_judged(netlink, 0),
        owner=_judged(netlink, _OWNER),
        persist=_judged(netlink, _OWNER | _PERSIST),
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
    engine: str | None, found: Kernel, *, native_queue: bool, queue_target: bool
) -> tuple[Capability, ...]:
    """The answers as codes for `isolator doctor`."""
    permitted = found.table not in (errno.EPERM, errno.EACCES)
    queue = "nft queue" if native_queue else "xtables target NFQUEUE" if queue_target else "neither way"
    return (
        Capability("net_admin", permitted, _words(0 if permitted else found.table), "isolation as a whole"),
        Capability(
            "nftables", engine is not None, engine or "no libnftables.so.1, no nft", "isolation as a whole"
        ),
        Capability(
            "libnftables",
            engine == "libnftables",
            engine or "missing",
            "speed: each commit starts a program (some 20 ms)",
            required=False,
        ),
        Capability("inet_family", found.table == 0, _words(found.table), "isolation as a whole"),
        Capability(
            "queue", native_queue or queue_target, queue, "names: only addresses and networks can be opened"
        ),
        Capability(
            "socket_destroy",
            found.destroy == 0,
            _words(found.destroy),
            "local programs with forbidden connections notice at their next packet only",
            required=False,
        ),
        Capability(
            "conntrack_netlink",
            found.conntrack == 0,
            _words(found.conntrack),
            "entries of ended flows stay until they time out; their packets are dropped all the same",
            required=False,
        ),
        Capability(
            "cgroup2",
            found.cgroup2 is not None,
            str(found.cgroup2 or "not mounted"),
            "exclusions limited to a control group",
            required=False,
        ),
        Capability(
            "owner_flag",
            found.owner == 0 and found.persist == 0,
            "owner and persist"
            if found.persist == 0
            else "owner only"
            if found.owner == 0
            else _words(found.owner),
            "tables that refuses changes by others (tampering is repaired instead)",
            required=False,
        ),
    )


def _words(code: int) -> str:
    return "yes" if code == 0 else f"{errno.errorcode.get(code, str(code))}"
