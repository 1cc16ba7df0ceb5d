"""What systemd wants to know of a service of Type=notify: one datagram a word (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket


def tell(words: str) -> None:
    """Send `READY=1`, `STOPPING=1` and the like; nothing happens when nobody asked for it."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    family = getattr(socket, "AF_UNIX", None)
    if family is None or where[:1] not in ("/", "@"):
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as datagram:
        datagram.sendto(words.encode(), address)
