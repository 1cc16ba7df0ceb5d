"""The process behind all servers of the lab: TLS, HTTP, echo, streams, in whichever namespace is asked.

Sockets are opened inside the namespaces, one asyncio loop serves them all. Commands on standard input (JSON
lines): listen, certificate. Started by servers.py.
"""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

from tests.lab import kernel
from tests.lab.ports import STREAM_WORD

_STREAM_PAUSE_S = 0.005
_IPV6_RECVPKTINFO, _IPV6_PKTINFO, _IPV6_FREEBIND, _IP_PKTINFO = 49, 50, 78, 8


class Servers:
    """All listeners of this process."""

    def __init__(self) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: list[object] = []
        self._tls.sni_callback = self._choose

    async def command(self, message: dict[str, Any]) -> dict[str, Any]:
        """Carry out one control message."""
        match message.get("do"):
            case "certificate":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(message["pem"])
                if message["nameless"] or not self._contexts:
                    self._tls.load_cert_chain(message["pem"])  # for clients that name nobody
                self._contexts.update(dict.fromkeys(message["names"], context))
            case "listen":
                for kind, port in message["ports"]:
                    await self._listen(message["namespace"], kind, port)
            case other:
                return {"error": f"unknown command {other!r}"}
        return {}

    async def _listen(self, namespace: str, kind: str, port: int) -> None:
        udp = kind == "udp_echo"
        for family in (socket.AF_INET, socket.AF_INET6):
            sock = _in_namespace(namespace, functools.partial(_bound, family, udp, port))
            if udp:
                self._kept.append(sock)
                asyncio.get_running_loop().add_reader(sock, _echo_datagrams, sock)
                continue
            handler = {"tls": _http, "http": _http, "tcp_echo": _echo, "stream": _stream}[kind]
            secure = self._tls if kind == "tls" else None
            self._kept.append(await asyncio.start_server(handler, sock=sock, ssl=secure))

    def _choose(self, sslobject: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """Pick the certificate for the server name; an unknown name gets the default one."""
        for candidate in (name or "", "*." + (name or "").partition(".")[2]):
            if (context := self._contexts.get(candidate.lower())) is not None:
                sslobject.context = context
                return


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP/1.1 with one answer for every path; the body names the host that was asked for."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            host = next((line[5:].strip() for line in lines if line.lower().startswith("host:")), "")
            body = f"lab {host}\n".encode("latin-1")
            said = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(said + body)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # the client hung up or was cut off: its affair
    finally:
        writer.close()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def _stream(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keep sending numbered lines until the client is gone."""
    number = 0
    try:
        while True:
            writer.write(b"%s %d\n" % (STREAM_WORD, number))
            await writer.drain()
            number += 1
            await asyncio.sleep(_STREAM_PAUSE_S)
    except OSError:
        pass
    finally:
        writer.close()


def _echo_datagrams(sock: socket.socket) -> None:
    """Echo from the very address the datagram came to: the socket serves every address of the internet."""
    level, kind = (
        (socket.IPPROTO_IPV6, _IPV6_PKTINFO)
        if sock.family == socket.AF_INET6
        else (socket.IPPROTO_IP, _IP_PKTINFO)
    )
    for _ in range(64):
        try:
            data, ancillary, _flags, source = sock.recvmsg(65536, 256)
        except OSError:
            return
        # in_pktinfo is (interface, chosen source, destination), in6_pktinfo (destination, interface).
        info = next(value for a, b, value in ancillary if (a, b) == (level, kind))
        back = (
            info[:16] + struct.pack("@i", 0)
            if len(info) == 20
            else struct.pack("@i", 0) + info[8:12] + bytes(4)
        )
        try:
            sock.sendmsg([data], [(level, kind, back)], 0, source)
        except OSError as error:
            print(f"echo to {source} not sent: {error}", file=sys.stderr, flush=True)


def _bound(family: int, udp: bool, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # The addresses of the internet are on no interface; IPv6 asks for this before it answers from one.
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
    if udp:
        level, option = (
            (socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO)
            if family == socket.AF_INET6
            else (socket.IPPROTO_IP, _IP_PKTINFO)
        )
        sock.setsockopt(level, option, 1)
    sock.bind(("", port))
    if not udp:
        sock.listen(512)
    sock.setblocking(False)
    return sock


def _in_namespace(path: str, action: Callable[[], socket.socket]) -> socket.socket:
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def enter() -> None:
        try:
            with open(path) as net:
                kernel.setns(net.fileno(), kernel.CLONE_NEWNET)
            made.append(action())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


async def _serve() -> None:
    servers = Servers()
    reader = asyncio.StreamReader(limit=1 << 24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    _say({"ready": True})
    while line := await reader.readline():
        try:
            _say(await servers.command(json.loads(line)))
        except OSError as error:  # a port in use, a certificate that is not there: the asker's to hear
            _say({"error": str(error)})


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner, who then closes our input
    asyncio.run(_serve())
