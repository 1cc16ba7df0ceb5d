"""Asks for one name at a steady rate from many ports and counts what comes back. Runs in the device.

Arguments: resolver, name, queries a second, seconds. Prints one JSON line: sent, answered.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

from isolator.wire.dns_render import render_query

_SOCKETS = 64


def main(server: str, name: str, rate: float, seconds: float) -> None:
    """Send on time, read what is there in between, then wait a second for stragglers."""
    sockets = []
    poll = select.poll()
    by_number = {}
    for _ in range(_SOCKETS):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.connect((server, 53))
        sock.setblocking(False)
        poll.register(sock, select.POLLIN)
        by_number[sock.fileno()] = sock
        sockets.append(sock)
    query = bytearray(render_query(0, name, 1))
    total = int(rate * seconds)
    sent = answered = 0
    started = time.monotonic()
    deadline = started + seconds + 1.0
    while (now := time.monotonic()) < deadline and answered < total:
        due = min(total, int((now - started) * rate))
        while sent < due:
            query[0:2] = (sent & 0xFFFF).to_bytes(2, "big")
            sockets[sent % _SOCKETS].send(query)
            sent += 1
        for number, _ in poll.poll(1):
            try:
                while by_number[number].recv(512):
                    answered += 1
            except BlockingIOError:
                continue
    print(json.dumps({"sent": sent, "answered": answered}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
