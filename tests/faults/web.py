"""The servers of the lab's internet: what each name answers, and the ways in which a server can be wrong."""

from __future__ import annotations

import asyncio
import email.utils
import functools
import ssl
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import pki, revocation_files, world
from tests.faults.sockets import Peer


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body_size: int

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True, slots=True)
class Service:
    """What stands behind one name. Everything after `headers` is a way to be wrong or odd."""

    status: int = 200
    body: bytes = b"OK"
    content_type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)
    largest_body: int = 10_000_000
    """A request with more is reset, as a body limit on the way does it."""
    ranges: bool = False
    certificate_names: tuple[str, ...] = ()
    """Empty: the name asked for."""
    issuer: str = pki.PUBLIC_ISSUER
    from_days: int = -30
    to_days: int = 60
    padding: int = 0
    newest_tls: ssl.TLSVersion | None = None
    oldest_tls: ssl.TLSVersion | None = None
    alpn: tuple[str, ...] = ("http/1.1",)
    instead: bytes | None = None
    """Bytes sent in place of a ServerHello; then the connection is closed."""
    delay_s: float = 0.0
    """Before the answer to a request."""
    handshake_delay_s: float = 0.0
    date_shift_s: float = 0.0
    http_version: str = "1.1"
    echo: bool = False
    """Answer the request's headers as JSON (a helper of one's own)."""


PORTAL_CHECK = Service(body=world.PORTAL_BODY)
HTML = b"<html><head><title>Welcome</title></head><body>hello</body></html>"


def services() -> dict[str, Service]:
    """What a healthy world answers."""
    return {
        world.GW1.host: Service(),
        world.GW2.host: Service(),
        world.GW3.host: Service(),
        world.EDR.host: Service(status=404, body=b"", content_type="application/json"),
        world.EVENTS.host: Service(),
        world.BLOB.host: Service(status=400, body=_BLOB_ERROR, content_type="application/xml"),
        world.SETTINGS.host: Service(),
        world.LOGIN.host: Service(body=HTML, content_type="text/html"),
        world.UPDATE.host: Service(
            body=b"MZ" + bytes(70_000), content_type="application/octet-stream", ranges=True,
            alpn=("h2", "http/1.1"),
        ),
        world.CRL.host: Service(body=revocation_files.crl(), content_type="application/pkix-crl"),
        world.OCSP.host: Service(
            body=revocation_files.ocsp_answer(), content_type="application/ocsp-response"
        ),
        world.CTL.host: Service(
            body=revocation_files.cabinet(), content_type="application/vnd.ms-cab-compressed"
        ),
        world.PLAIN.host: Service(),
        world.PORTAL_HOST: PORTAL_CHECK,
        world.CONTROL_HOST: Service(body=HTML, content_type="text/html"),
        world.ECHO_HOST: Service(echo=True),
    }  # fmt: skip


_BLOB_ERROR = (
    b'<?xml version="1.0" encoding="utf-8"?><Error><Code>InvalidQueryParameterValue</Code>'
    b"<Message>Value for one of the query parameters is incorrect.</Message></Error>"
)


class Web:
    """Serves every address of the internet; a fault puts another Service under a name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.services = services()
        self.unknown = Service(status=404, certificate_names=("default.lab.example.net",))
        """What a front end presents for a name it does not know."""

    def service(self, name: str) -> Service:
        return self.services.get(name.lower(), self.unknown)

    async def tls(self, peer: Peer) -> None:
        """Serve one connection on a TLS port."""
        name, read = await peer.client_hello()
        if name is None:
            if read:
                peer.reset()
            return
        await self.answer(peer, name, self.service(name))

    async def plain(self, peer: Peer) -> None:
        """Serve one connection on port 80."""
        await self._requests(peer, None)

    async def answer(self, peer: Peer, name: str, service: Service) -> None:
        """Be this service for a connection whose ClientHello is put back."""
        if service.handshake_delay_s:
            await asyncio.sleep(service.handshake_delay_s)
        if service.instead is not None:
            await peer.receive()
            await peer.send(service.instead)
            return
        names = service.certificate_names or (name or "default.lab.example.net",)
        await peer.start_tls(self._context(service, names))
        await self._requests(peer, service)

    async def _requests(self, peer: Peer, service: Service | None) -> None:
        while (request := await read_request(peer, self._limit(service))) is not None:
            host = request.header("host").partition(":")[0]
            known = service or self.service(host)
            if request.body_size > known.largest_body:
                peer.reset()
                return
            if known.delay_s:
                await asyncio.sleep(known.delay_s)
            await peer.send(response(known, request))
            if known.http_version == "1.0" or request.header("connection").lower() == "close":
                break
        peer.end()

    def _limit(self, service: Service | None) -> int:
        return service.largest_body if service else 10_000_000

    def _context(self, service: Service, names: tuple[str, ...]) -> ssl.SSLContext:
        leaf = pki.Leaf(names, service.issuer, service.from_days, service.to_days, service.padding)
        return _context(self.directory, leaf, service.alpn, service.oldest_tls, service.newest_tls)


@functools.lru_cache(maxsize=256)
def _context(
    directory: Path,
    leaf: pki.Leaf,
    alpn: tuple[str, ...],
    oldest: ssl.TLSVersion | None,
    newest: ssl.TLSVersion | None,
) -> ssl.SSLContext:
    context = pki.server_context(directory, leaf, alpn=alpn)
    if oldest or newest:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what the fault is about
            context.minimum_version = oldest or ssl.TLSVersion.MINIMUM_SUPPORTED
            context.maximum_version = newest or ssl.TLSVersion.MAXIMUM_SUPPORTED
    return context


async def read_request(peer: Peer, largest_body: int = 10_000_000) -> Request | None:
    """Read one request with its body; None at the end of the connection. Past the limit reading stops."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = await peer.receive()
        if not more or len(data) > 65536:
            return None
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, *_ = [*first.split(" "), "", ""]
    pairs = [line.partition(":") for line in lines]
    headers = tuple((key.strip(), value.strip()) for key, _, value in pairs)
    size = int(next((value for key, value in headers if key.lower() == "content-length"), "0") or 0)
    got = len(rest)
    while got < size and got <= largest_body:
        more = await peer.receive()
        if not more:
            return None
        got += len(more)
    return Request(method, target, headers, size)


def response(service: Service, request: Request) -> bytes:
    """The bytes of the answer."""
    status, body, extra = service.status, service.body, dict(service.headers)
    if service.echo:
        import json

        body = json.dumps({"headers": [list(pair) for pair in request.headers]}).encode()
    wanted = request.header("range")
    if service.ranges and wanted.startswith("bytes=") and status == 200:
        first, _, last = wanted[6:].partition("-")
        start, end = int(first or 0), min(int(last or len(body) - 1), len(body) - 1)
        extra["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        status, body = 206, body[start : end + 1]
    headers = {
        "Date": email.utils.formatdate(time.time() + service.date_shift_s, usegmt=True),
        "Content-Type": "application/json" if service.echo else service.content_type,
        "Content-Length": str(len(body)),
        **extra,
    }
    head = f"HTTP/{service.http_version} {status} {_REASONS.get(status, 'Status')}\r\n"
    head += "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return head.encode("latin-1") + b"\r\n" + (b"" if request.method == "HEAD" else body)


_REASONS = {
    200: "OK",
    206: "Partial Content",
    302: "Found",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
}
