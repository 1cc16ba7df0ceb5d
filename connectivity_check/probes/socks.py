"""SOCKS 5 with names resolved by the proxy (RFC 1928), with or without a password (RFC 1929)."""

from __future__ import annotations

from collections.abc import MutableMapping
from ipaddress import IPv4Address

from connectivity_check.failure import Seen
from connectivity_check.model import Json, ProxyServer
from connectivity_check.ports import Stream
from connectivity_check.probes.tunnel_target import TunnelTarget

_NO_AUTH, _PASSWORD, _NONE_ACCEPTABLE = 0, 2, 255
_ADDRESS_SIZES = {1: 4, 4: 16}


class EndOfStreamError(Exception):
    """The peer closed where bytes were due."""


class ForeignBytesError(Exception):
    """What came is not of the protocol; `first` is where it begins."""

    def __init__(self, first: bytes) -> None:
        super().__init__("bytes of another protocol")
        self.first = first[:32]


class _Reader:
    """Takes exact numbers of bytes from a stream; what is over stays in `rest`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.rest = b""

    async def take(self, count: int) -> bytes:
        while len(self.rest) < count:
            more = await self._stream.receive(4096)
            if not more:
                raise EndOfStreamError
            self.rest += more
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken


async def open_tunnel(
    stream: Stream, proxy: ProxyServer, target: TunnelTarget, evidence: MutableMapping[str, Json]
) -> tuple[Seen | None, bytes]:
    """Ask for a tunnel; give what was seen (None: it stands) and the bytes that came behind the answer.

    EndOfStreamError, ForeignBytesError and OSError end it; ValueError when the credentials do not fit. What
    was learned until then is in `evidence`.
    """
    user, password = proxy.username.encode(), proxy.password.encode()
    if len(user) > 255 or len(password) > 255:
        raise ValueError("user name or password is longer than the 255 bytes SOCKS can carry")
    reader = _Reader(stream)
    methods = bytes([_NO_AUTH, _PASSWORD]) if user else bytes([_NO_AUTH])
    await stream.send(bytes([5, len(methods)]) + methods)
    evidence["stage"] = "sent"
    method = await _method(reader, methods)
    evidence["socks_method"], evidence["stage"] = method, "answered"
    if method == _NONE_ACCEPTABLE:
        return Seen.SOCKS_REPLY, b""
    if method == _PASSWORD:
        evidence["auth"] = "password"
        await stream.send(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        # The version is not looked at: some servers answer 5 here. Any status but 0 is a refusal (RFC 1929).
        status = (await reader.take(2))[1]
        if status != 0:
            evidence["socks_auth"] = status
            return Seen.SOCKS_REPLY, b""
    await stream.send(b"\x05\x01\x00" + _destination(target))
    reply = await _reply(reader)
    evidence["socks_reply"] = reply
    return (None if reply == 0 else Seen.SOCKS_REPLY), reader.rest


async def _method(reader: _Reader, offered: bytes) -> int:
    """Read the server's choice; one that was not offered is no SOCKS server's."""
    first = await reader.take(1)
    if first != b"\x05":
        raise ForeignBytesError(first + reader.rest)
    method = (await reader.take(1))[0]
    if method != _NONE_ACCEPTABLE and method not in offered:
        raise ForeignBytesError(first + bytes([method]) + reader.rest)
    return method


async def _reply(reader: _Reader) -> int:
    """Read the reply up to its end; a refusal counts even when the server does not finish writing it."""
    head = await reader.take(2)
    if head[0] != 5:
        raise ForeignBytesError(head + reader.rest)
    if head[1] != 0:
        return head[1]
    _, kind = await reader.take(2)
    if kind == 3:
        size = (await reader.take(1))[0]
    elif kind in _ADDRESS_SIZES:
        size = _ADDRESS_SIZES[kind]
    else:
        raise ForeignBytesError(head + bytes([0, kind]) + reader.rest)
    await reader.take(size + 2)
    return 0


def _destination(target: TunnelTarget) -> bytes:
    """Write address type, address and port; names go as names, the proxy resolves them."""
    port = target.port.to_bytes(2, "big")
    if target.address is not None:
        kind = 1 if isinstance(target.address, IPv4Address) else 4
        return bytes([kind]) + target.address.packed + port
    name = target.host.encode("ascii")
    return bytes([3, len(name)]) + name + port
