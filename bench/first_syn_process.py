"""Looks a rotating name up and connects to the answer at once, again and again. Runs in the device.

Arguments: resolver, name, look-ups. Prints one JSON line: connected, late (a first SYN was lost: the kernel
sends the next one after a second), failed, unanswered.
"""

from __future__ import annotations

import errno
import json
import select
import socket
import struct
import sys
import time

import dns.message

from isolator.wire.dns_render import render_query

LATE_S = 0.5
"""Half of the kernel's first retransmission time-out (RFC 6298: one second)."""

_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER zero: close with a reset, so that ten thousand connections leave nothing behind."""


def connect(address: str) -> float | None:
    """Seconds until connected, None when refused or silent for three seconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        sock.setblocking(False)
        started = time.monotonic()
        if sock.connect_ex((address, 443)) not in (0, errno.EINPROGRESS):
            return None
        _, writable, _ = select.select([], [sock], [], 3.0)
        took = time.monotonic() - started
        return took if writable and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 else None


def main(server: str, name: str, lookups: int) -> None:
    """One look-up after the other, each followed by its connection."""
    counts = {"connected": 0, "late": 0, "failed": 0, "unanswered": 0}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.connect((server, 53))
        asker.settimeout(1.0)
        for number in range(lookups):
            asker.send(render_query(number & 0xFFFF, name, 1))
            try:
                answer = dns.message.from_wire(asker.recv(4096))
            except TimeoutError:
                counts["unanswered"] += 1
                continue
            addresses = [item.to_text() for rrset in answer.answer for item in rrset if rrset.rdtype == 1]
            took = connect(addresses[0]) if addresses else None
            if took is None:
                counts["failed"] += 1
            else:
                counts["late" if took > LATE_S else "connected"] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
