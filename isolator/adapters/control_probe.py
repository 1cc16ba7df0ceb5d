"""ControlProbe by TCP connections."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Iterable

from isolator.model.flow import Destination, Transport

_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


class TcpControlProbe:
    """Connects to every TCP destination at once; the first that accepts is enough.

    UDP destinations prove nothing and are passed over.
    """

    def reachable(self, destinations: Iterable[Destination], deadline_s: float) -> bool:
        """True at the first accepted connection; False when all failed or the time is over."""
        end_at = time.monotonic() + deadline_s
        with selectors.DefaultSelector() as waiting:
            try:
                for destination in destinations:
                    if destination.transport is Transport.TCP:
                        _start(waiting, destination)
                return _first_success(waiting, end_at)
            finally:
                for key in list(waiting.get_map().values()):
                    assert isinstance(key.fileobj, socket.socket)
                    key.fileobj.close()


def _start(waiting: selectors.BaseSelector, destination: Destination) -> None:
    family = socket.AF_INET if destination.address.version == 4 else socket.AF_INET6
    try:
        connecting = socket.socket(family, socket.SOCK_STREAM)
    except OSError:  # a system without this address family
        return
    connecting.setblocking(False)
    try:
        code = connecting.connect_ex((str(destination.address), destination.port))
    except OSError:  # a scope that is no interface here
        code = errno.EADDRNOTAVAIL
    if code in _UNDER_WAY:
        waiting.register(connecting, selectors.EVENT_WRITE)
    else:
        connecting.close()


def _first_success(waiting: selectors.BaseSelector, end_at: float) -> bool:
    while waiting.get_map():
        left_s = end_at - time.monotonic()
        if left_s <= 0:
            return False
        for key, _ in waiting.select(left_s):
            ended = key.fileobj
            assert isinstance(ended, socket.socket)
            if ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                return True
            waiting.unregister(ended)
            ended.close()
    return False
