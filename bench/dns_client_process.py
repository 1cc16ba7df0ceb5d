"""The client of the DNS figures, a process of its own in the device. One JSON command a line, one answer.

latency: {"do", "server", "names", "count"} -> {"ms": [...], "lost": n}, one query at a time.
rate: {"do", "server", "names", "per_second", "seconds"} -> {"sent", "answered", "empty", "took_s"}, paced,
each query with an id of its own; it listens one second longer than it sends.
connect: {"do", "server", "names", "count", "port"} -> {"late", "refused", "unanswered", "slowest_ms",
"look_up_ms", "addresses"}: each look-up is followed by a connection to the address in the answer at once.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.lab.zone import A, ask

_LATE_S = 0.2
"""A first SYN that is dropped is sent again after a second (RFC 6298); nothing else here takes so long."""
_ANSWERS = struct.Struct("!2xH2xH")
_LINGER_NOTHING = struct.pack("ii", 1, 0)
"""Close by reset: no port waits in TIME_WAIT, so that there are enough for every look-up."""


def latency(server: str, names: Sequence[str], count: int) -> dict[str, Any]:
    """Milliseconds from query to answer, one after the other."""
    queries = [ask(names[n % len(names)], A, n & 0xFFFF) for n in range(count)]
    took, lost = [], 0
    with _socket(server) as client:
        client.settimeout(1)
        for query in queries:
            started = time.perf_counter_ns()
            client.send(query)
            try:
                while client.recv(4096)[:2] != query[:2]:
                    pass
            except TimeoutError:
                lost += 1
                continue
            took.append((time.perf_counter_ns() - started) / 1e6)
    return {"ms": took, "lost": lost}


def rate(server: str, names: Sequence[str], per_second: int, seconds: float) -> dict[str, Any]:
    """Send at that rate whatever comes back, and count what does."""
    total = min(int(per_second * seconds), 65_536)
    queries = [ask(names[n % len(names)], A, n) for n in range(total)]
    state = bytearray(total)
    with _socket(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        client.setblocking(False)
        started = time.perf_counter()
        sent = 0
        while sent < total:
            due = min(total, int((time.perf_counter() - started) * per_second) + 1)
            while sent < due and _sent(client, queries[sent]):
                sent += 1
            _drain(client, state)
            time.sleep(0.0005)
        took_s = time.perf_counter() - started
        deadline = time.perf_counter() + 1
        while 0 in state and time.perf_counter() < deadline:
            _drain(client, state)
            time.sleep(0.001)
    return {"sent": total, "answered": state.count(1), "empty": state.count(2), "took_s": took_s}


def _sent(client: socket.socket, query: bytes) -> bool:
    """False when the socket has no room: what waits in the gate's queue counts as not sent yet."""
    try:
        client.send(query)
    except BlockingIOError:
        return False
    return True


def _drain(client: socket.socket, state: bytearray) -> None:
    """Take all answers that are there: 1 with addresses, 2 without or refused."""
    while True:
        try:
            answer = client.recv(4096)
        except BlockingIOError:
            return
        flags, count = _ANSWERS.unpack_from(answer)
        number = int.from_bytes(answer[:2], "big")
        if number < len(state):
            state[number] = 1 if count and not flags & 0xF else 2


def connect(server: str, names: Sequence[str], count: int, port: int) -> dict[str, Any]:
    """Look up and connect at once, and count connections that were late or refused."""
    late = refused = unanswered = 0
    slowest = 0.0
    look_ups = []
    addresses = set()
    with _socket(server) as client:
        client.settimeout(1)
        for number in range(count):
            query = ask(names[number % len(names)], A, number & 0xFFFF)
            started = time.perf_counter()
            client.send(query)
            try:
                answer = client.recv(4096)
                while answer[:2] != query[:2]:
                    answer = client.recv(4096)
            except TimeoutError:
                unanswered += 1
                continue
            look_ups.append((time.perf_counter() - started) * 1000)
            if not answer[7]:
                unanswered += 1
                continue
            addresses.add(answer[-4:])
            took = _connected_in(socket.inet_ntoa(answer[-4:]), port)
            refused += took is None
            if took is not None:
                late += took > _LATE_S
                slowest = max(slowest, took * 1000)
    return {
        "late": late,
        "refused": refused,
        "unanswered": unanswered,
        "slowest_ms": slowest,
        "addresses": len(addresses),
        "look_up_ms": sorted(look_ups)[len(look_ups) // 2] if look_ups else None,
    }


def _connected_in(address: str, port: int) -> float | None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOTHING)
        connection.settimeout(3)
        started = time.perf_counter()
        try:
            connection.connect((address, port))
        except OSError:
            return None
        return time.perf_counter() - started


def _socket(server: str) -> socket.socket:
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((server, 53))
    return client


def main() -> None:
    """Answer commands until the input closes."""
    commands: dict[str, Callable[..., dict[str, Any]]] = {
        "latency": latency,
        "rate": rate,
        "connect": connect,
    }
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        action = commands[message.pop("do")]
        print(json.dumps(action(**message)), flush=True)


if __name__ == "__main__":
    main()
