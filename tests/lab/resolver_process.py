"""The process that answers DNS in the router's namespace: UDP and TCP, one poll loop, a log of what arrived.

Commands on standard input (JSON lines): put, drop, log, clear, count. Started by resolver.py.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.lab.zone import Host, Question, Zone, parse_question, text_of

_LONGEST_LOG = 2_000_000
_BATCH = 64

LogEntry = tuple[int, bytes, int, str, int, str]
"""When it arrived (CLOCK_MONOTONIC, ns), name in wire form, type, source address, source port, udp or tcp."""


@dataclass(slots=True)
class Resolver:
    """The zone and the log; answers bytes with bytes."""

    zone: Zone
    log: list[LogEntry] = field(default_factory=list)
    arrived: int = 0
    unreadable: int = 0

    def answer(self, query: bytes, source: Any, transport: str) -> bytes | None:
        """Log one query and give its answer; None for what is no query."""
        self.arrived += 1
        question = parse_question(query)
        if question is None:
            self.unreadable += 1
            return None
        self._note(question, source, transport)
        return self.zone.answer(query, question, limit=65535 if transport == "tcp" else None)

    def command(self, message: dict[str, Any]) -> dict[str, Any]:
        """Carry out one control message."""
        match message.get("do"):
            case "put":
                self.zone.put(host_from_json(item) for item in message["hosts"])
            case "drop":
                self.zone.drop(message["names"])
            case "log":
                return {"log": [(t, text_of(name), q, a, p, via) for t, name, q, a, p, via in list(self.log)]}
            case "clear":
                self.log.clear()
                self.arrived = self.unreadable = 0
            case "count":
                return {"arrived": self.arrived, "logged": len(self.log), "unreadable": self.unreadable}
            case other:
                return {"error": f"unknown command {other!r}"}
        return {}

    def _note(self, question: Question, source: Any, transport: str) -> None:
        if len(self.log) < _LONGEST_LOG:
            entry = (time.monotonic_ns(), question.name, question.qtype, source[0], source[1], transport)
            self.log.append(entry)


def host_from_json(item: dict[str, Any]) -> Host:
    """A Host out of what dataclasses.asdict made of it."""
    return Host(**{**item, "v4": tuple(item["v4"]), "v6": tuple(item["v6"])})


def serve(resolver: Resolver, addresses: list[str], port: int) -> None:
    """Answer until standard input closes."""
    udp = [_bound(address, port, socket.SOCK_DGRAM) for address in addresses]
    tcp = [_bound(address, port, socket.SOCK_STREAM) for address in addresses]
    for listener in tcp:
        threading.Thread(target=_accept, args=(resolver, listener), daemon=True).start()
    by_fd = {one.fileno(): one for one in udp}
    poll = select.poll()
    for fd in (*by_fd, 0):
        poll.register(fd, select.POLLIN)
    _say({"ready": True})
    control = b""
    while True:
        for fd, _ in poll.poll():
            if fd != 0:
                _answer_batch(resolver, by_fd[fd])
                continue
            piece = os.read(0, 1 << 20)
            if not piece:
                return
            *lines, control = (control + piece).split(b"\n")
            for line in lines:
                _say(resolver.command(json.loads(line)))


def _answer_batch(resolver: Resolver, udp: socket.socket) -> None:
    for _ in range(_BATCH):
        try:
            query, source = udp.recvfrom(4096)
        except OSError:  # nothing left, or an ICMP error about an earlier answer
            return
        reply = resolver.answer(query, source, "udp")
        if reply is not None:
            try:
                udp.sendto(reply, source)
            except OSError as error:
                print(f"answer to {source} not sent: {error}", file=sys.stderr, flush=True)


def _accept(resolver: Resolver, listener: socket.socket) -> None:
    while True:
        connection, source = listener.accept()
        threading.Thread(target=_converse, args=(resolver, connection, source), daemon=True).start()


def _converse(resolver: Resolver, connection: socket.socket, source: Any) -> None:
    """Queries one after the other on a connection, each with its length in front (RFC 1035 section 4.2.2)."""
    try:
        with connection, connection.makefile("rb") as stream:
            connection.settimeout(30)
            while len(head := stream.read(2)) == 2:
                reply = resolver.answer(stream.read(int.from_bytes(head, "big")), source, "tcp")
                if reply is None:
                    return
                connection.sendall(len(reply).to_bytes(2, "big") + reply)
    except OSError:  # the asker hung up or was cut off: its affair
        return


def _bound(address: str, port: int, kind: socket.SocketKind) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind == socket.SOCK_STREAM:
        sock.listen(128)
        return sock
    sock.setblocking(False)
    # SO_RCVBUFFORCE (33) is for root only; a plain user gets what rmem_max allows.
    for option in (33, socket.SO_RCVBUF):
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, 16 << 20)
            break
        except PermissionError:
            continue
    return sock


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    """Entry: one argument, JSON with addresses and port. Names come by ``put``: they may be many."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who then closes our input
    setting = json.loads(arguments[0])
    serve(Resolver(Zone()), setting["addresses"], setting["port"])


if __name__ == "__main__":
    main(sys.argv[1:])
