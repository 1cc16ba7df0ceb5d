"""The client of the figures on gated connections, in the device. One JSON command a line, one answer.

latency: {"do", "addresses", "port", "hello", "count"} -> {"ms": [...]}, one connection after the other, each
from its connect to the first byte of the answer.
rate: {"do", "addresses", "port", "hello", "workers", "warm_s", "seconds"} ->
{"done", "took_s", "all", "failed"}: that many processes, each connecting, speaking, hearing the answer and
closing without a pause; `done` between two instants, `all` and `failed` from start to end.
bulk: {"do", "address", "port", "hello", "upload", "seconds"} -> {"running": true}, then {"over": true}.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench import one_core

_PATIENCE = (5).to_bytes(8, sys.byteorder) + bytes(8)
"""A struct timeval: the sockets block, which costs less than a timeout of Python's."""
_ROOM = 64
_PIECE = 256 * 1024


def speak(address: str, port: int, hello: bytes) -> float:
    """One connection; gives the seconds from connect to the first byte of the answer."""
    with _connection() as sock:
        started = time.perf_counter()
        sock.connect((address, port))
        sock.sendall(hello)
        if not sock.recv(65536):
            raise ConnectionError("closed without an answer")
        return time.perf_counter() - started


def latency(addresses: Sequence[str], port: int, hello: str, count: int) -> dict[str, Any]:
    """Milliseconds of each connection; OSError when one fails."""
    said = bytes.fromhex(hello)
    return {"ms": [speak(addresses[n % len(addresses)], port, said) * 1000 for n in range(count)]}


def rate(
    addresses: Sequence[str], port: int, hello: str, workers: int, warm_s: float, seconds: float
) -> dict[str, Any]:
    """What all workers together carried between two instants, the start-up left out."""
    said = bytes.fromhex(hello)
    # Two counters a worker, each in a cache line of its own.
    memory = mmap.mmap(-1, workers * _ROOM)
    counters = memoryview(memory).cast("Q")
    pids = []
    for number in range(workers):
        pid = os.fork()
        if not pid:
            _work(addresses[number % len(addresses)], port, said, counters, number * _ROOM // 8)
        pids.append(pid)
    time.sleep(warm_s)
    before, started = counters.tolist(), time.perf_counter()
    time.sleep(seconds)
    after, took_s = counters.tolist(), time.perf_counter() - started
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    gained = [b - a for a, b in zip(before, after, strict=True)]
    step = _ROOM // 8
    everything = counters.tolist()
    return {
        "done": sum(gained[::step]),
        "failed": sum(everything[1::step]),
        "took_s": took_s,
        "all": sum(everything[::step]),
    }


def _work(address: str, port: int, hello: bytes, counters: memoryview, place: int) -> None:
    """Connect for ever; the parent ends it."""
    os.close(0)
    while True:
        try:
            speak(address, port, hello)
        except OSError:
            counters[place + 1] += 1
            time.sleep(0.001)
        else:
            counters[place] += 1


def bulk(address: str, port: int, hello: str, upload: bool, seconds: float) -> dict[str, Any]:
    """Carry bytes for that long over one connection that began with a hello."""
    with one_core.on_it(), _connection() as sock:
        sock.connect((address, port))
        sock.sendall(bytes.fromhex(hello))
        if not sock.recv(1):
            raise ConnectionError("closed without an answer")
        print(json.dumps({"running": True}), flush=True)
        until = time.perf_counter() + seconds
        piece = bytearray(_PIECE)
        while time.perf_counter() < until:
            if upload:
                sock.sendall(piece)
            else:
                sock.recv_into(piece)
    return {"over": True}


def _connection() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _PATIENCE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _PATIENCE)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def main() -> None:
    """Answer commands until the input closes."""
    commands: dict[str, Callable[..., dict[str, Any]]] = {"latency": latency, "rate": rate, "bulk": bulk}
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        action = commands[message.pop("do")]
        try:
            answer = action(**message)
        except OSError as error:
            answer = {"error": f"{action.__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
