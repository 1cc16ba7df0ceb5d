"""A long path: packets of a router wait in userspace (this kernel has no netem)."""

from __future__ import annotations

import socket

from tests.faults.lab import FaultLab
from tests.lab.namespace import Namespace


def slow_path(lab: FaultLab, space: Namespace, one_way_s: float) -> None:
    """Hold every forwarded packet of a router for this long, in order."""
    from netfilterqueue import NetfilterQueue

    lab.command(space, "iptables", "-A", "FORWARD", "-j", "NFQUEUE", "--queue-num", "7")
    loop = lab.stage.loop

    def hold(packet: object) -> None:
        packet.retain()  # type: ignore[attr-defined]
        loop.call_later(one_way_s, packet.accept)  # type: ignore[attr-defined]

    def bind() -> tuple[NetfilterQueue, socket.socket]:
        queue = NetfilterQueue()  # its netlink socket belongs to the namespace of this thread
        queue.bind(7, hold, 4096)
        return queue, socket.socket(fileno=queue.get_fd())

    queue, sock = space.in_namespace(bind)
    sock.setblocking(False)
    loop.call_soon_threadsafe(loop.add_reader, sock, lambda: queue.run_socket(sock))
    lab.undo(lambda: _stop(lab, queue, sock))


def _stop(lab: FaultLab, queue: object, sock: socket.socket) -> None:
    async def unbind() -> None:
        lab.stage.loop.remove_reader(sock)
        sock.detach()
        queue.unbind()  # type: ignore[attr-defined]

    lab.stage.call(unbind())
