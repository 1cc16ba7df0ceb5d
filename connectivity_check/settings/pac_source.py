"""Where a PAC file comes from: a file, or an HTTP server asked by ourselves with a budget."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import re
import ssl
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit, urlunsplit

from connectivity_check.model import InputError
from connectivity_check.settings.proxy_url import strip_credentials

MAX_BYTES = 1 << 20
"""The size Chrome allows too."""
MAX_REDIRECTS = 5
ADDRESS_S = 2.0
"""How long one address of the server may take to accept, of the budget for the whole."""
_FUNCTION = re.compile(r"\bFindProxyForURL(Ex)?\b")
_MARKUP = re.compile(r"\s*(<!doctype|<html|<head|<body|<\?xml|<!--\s*\w)", re.IGNORECASE)


class NoPacError(Exception):
    """No PAC file could be had; `reason` is a clause without its name."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Body:
    """An answer's bytes and what its header says of them."""

    data: bytes
    content_type: str = ""


def read_pac_file(path: Path) -> str:
    """Read a PAC file from disk. Raises InputError when it is not there or is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: the PAC file cannot be read: {error.strerror or error}") from None
    try:
        return decode_pac(Body(data))
    except NoPacError as unavailable:
        raise InputError(f"{path}: {unavailable.reason}") from None


def decode_pac(body: Body) -> str:
    """Turn bytes into a script: by byte order mark, then the header's charset, then UTF-8, then Latin-1.

    Raises NoPacError for an empty file, one over 1 MiB, HTML, and text without a FindProxyForURL.
    """
    if len(body.data) > MAX_BYTES:
        raise NoPacError("it is larger than 1 MiB, no PAC file")
    if not body.data.strip():
        raise NoPacError("it is empty")
    text = _text(body)
    kind = body.content_type.partition(";")[0].strip().lower()
    if _MARKUP.match(text) or kind in ("text/html", "application/xhtml+xml"):
        raise NoPacError("it is a web page (a sign-in or an error page, perhaps), not a PAC file")
    if "\0" in text or _FUNCTION.search(text) is None:
        raise NoPacError("it defines no function FindProxyForURL, so it is not a PAC file")
    return text


def _text(body: Body) -> str:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if body.data.startswith(mark):
            return body.data.decode(encoding, "replace")
    charset = re.search(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]+)", body.content_type, re.IGNORECASE)
    for encoding in ([charset[1]] if charset else []) + ["utf-8"]:
        with contextlib.suppress(LookupError, UnicodeError):
            return body.data.decode(encoding)
    return body.data.decode("latin-1")


def check_pac_url(url: str, where: str = "--pac") -> str:
    """Give the URL to fetch, without fragment. Raises InputError for one that cannot be."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InputError(f"{where}: the PAC file's URL is not one; write http://host/proxy.pac") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or port == 0
        or re.search(r"[\x00-\x20\x7f]", url)
    ):
        raise InputError(f"{where}: a PAC file comes from a file or an http:// or https:// URL with a host")
    if parts.username is not None:
        raise InputError(f"{where}: a PAC file's URL cannot hold credentials; agents do not send any")
    return urlunsplit(parts._replace(fragment=""))


async def fetch_pac(url: str, budget_s: float) -> str:
    """GET a PAC file, directly, and decode it; redirects are followed. Raises NoPacError."""
    try:
        async with asyncio.timeout(budget_s):
            for _ in range(MAX_REDIRECTS + 1):
                answer = await _get(url)
                if isinstance(answer, Body):
                    return decode_pac(answer)
                url = _redirected(url, answer)
    except TimeoutError:
        raise NoPacError(f"its server gave no answer within {budget_s:g} s") from None
    raise NoPacError(f"its server redirects more than {MAX_REDIRECTS} times")


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    try:
        return check_pac_url(target)
    except InputError:
        raise NoPacError(f"its server redirects to {strip_credentials(target)[:100]!a}") from None


async def _get(url: str) -> Body | str:
    """Give the body, or the Location of a redirect."""
    parts = urlsplit(url)
    host, tls = str(parts.hostname), parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    with contextlib.suppress(UnicodeError):
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    reader, writer = await _connected(host, port, ssl.create_default_context() if tls else None)
    try:
        return await _exchange(
            reader, writer, parts.netloc, urlunsplit(("", "", parts.path or "/", parts.query, ""))
        )
    except (OSError, ssl.SSLError) as error:
        raise NoPacError(f"the connection to its server broke off: {_reason(error)}") from None
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(0.5):
                await writer.wait_closed()


async def _connected(
    host: str, port: int, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that answers; a silent one does not use up the time of the others."""
    reason = ""
    for address in await _resolved(host):
        try:
            async with asyncio.timeout(ADDRESS_S):
                return await asyncio.open_connection(
                    address, port, ssl=context, server_hostname=host if context else None
                )
        except ssl.SSLCertVerificationError as error:
            raise NoPacError(f"its server's certificate is not trusted: {error.verify_message}") from None
        except TimeoutError:
            reason = reason or f"its server {address} does not answer on port {port}"
        except (OSError, ssl.SSLError) as error:
            reason = reason or f"its server {address} cannot be reached on port {port}: {_reason(error)}"
    raise NoPacError(reason)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, place: str, path: str
) -> Body | str:
    import h11

    link = h11.Connection(h11.CLIENT)
    headers = [("Host", place), ("Accept", "*/*"), ("Accept-Encoding", "identity"), ("Connection", "close")]
    response: h11.Response | None = None
    data = bytearray()
    try:
        target = path if path.isascii() else path.encode("utf-8")
        writer.write(link.send(h11.Request(method="GET", target=target, headers=headers)) or b"")
        writer.write(link.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        while not isinstance(event := link.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                link.receive_data(await reader.read(65536))
            elif isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                data += event.data
            if len(data) > MAX_BYTES:
                break
    except (h11.RemoteProtocolError, h11.LocalProtocolError) as error:
        raise NoPacError(f"its server does not speak HTTP: {error}") from None
    if response is None:
        raise NoPacError("its server does not speak HTTP: a body without a head")
    fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    if response.status_code in (301, 302, 303, 307, 308) and "location" in fields:
        return fields["location"]
    if response.status_code != 200:
        raise NoPacError(f"its server answers with status {response.status_code}")
    return Body(_inflated(bytes(data), fields.get("content-encoding", "")), fields.get("content-type", ""))


def _inflated(data: bytes, encoding: str) -> bytes:
    """Undo gzip or deflate, which was not asked for; at most one byte over the limit comes out."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return data
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(data, MAX_BYTES + 1)
    except zlib.error:
        raise NoPacError("its body is not what its Content-Encoding says") from None


async def _resolved(host: str) -> tuple[str, ...]:
    """Look a name up in a thread of its own: the loop's pool would hold up the end of the run."""
    import socket

    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(act: Callable[[], None]) -> None:
        def unless_done() -> None:
            if not future.done():
                act()

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(unless_done)

    def look_up() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
            settle(lambda: future.set_result(addresses))
        except (OSError, UnicodeError):
            settle(lambda: future.set_exception(NoPacError(f"the name {host} does not resolve")))

    threading.Thread(target=look_up, daemon=True).start()
    return await future
