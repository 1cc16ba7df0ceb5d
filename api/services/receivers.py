"""Where events go: a webhook, a syslog server, a file. Each takes them in order and says how far it got."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from api.core.instant import render_instant
from api.settings import Settings, SettingsError

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10.0
SIGNATURE_HEADER = "X-Isolator-Signature"
MIN_SECRET = 16
_SYSLOG_PRIORITY = 13 * 8 + 5
"""Facility 13 (log audit), severity 5 (notice); RFC 5424 section 6.2.1."""
_FIT_TO_BE_DROPPED = frozenset({400, 413, 415, 422})
"""What a webhook says of the event itself; it will say the same tomorrow."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event as receivers get it. `id` rises; the same id twice is the same event."""

    id: int
    tenant_id: str
    kind: str
    created_at: datetime
    body: dict[str, Any]

    def document(self) -> bytes:
        """The event as JSON, on one line."""
        values = {
            "id": self.id,
            "kind": self.kind,
            "tenant_id": self.tenant_id,
            "created_at": render_instant(self.created_at),
            "body": self.body,
        }
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class NotTaken(Exception):  # noqa: N818 - the receiver's answer, not a defect here
    """A receiver did not take an event. `taken`: how many of the batch it took before it."""

    def __init__(self, reason: str, taken: int = 0, *, because_of_event: bool = False) -> None:
        super().__init__(reason)
        self.taken = taken
        self.because_of_event = because_of_event


class Receiver(Protocol):
    """Somebody who is told."""

    name: str

    def take(self, events: Sequence[Event]) -> None:
        """Deliver these in order. NotTaken when one is not taken; the later ones were then not tried."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def signature(secret: bytes, at: int, body: bytes) -> str:
    """The header's value: the time, and the HMAC-SHA256 over `TIME.BODY`. The time stops replays."""
    digest = hmac.new(secret, str(at).encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Webhook:
    """POST of each event, signed. TLS is verified, redirects are not followed, the answer is not read."""

    name = "webhook"

    def __init__(self, url: str, secret: bytes, context: ssl.SSLContext | None = None) -> None:
        self._url = url
        self._secret = secret
        self._context = context
        self._client: httpx.Client | None = None

    def take(self, events: Sequence[Event]) -> None:
        """Deliver these in order; any 2xx is a yes."""
        for taken, event in enumerate(events):
            self._post(event, taken)

    def close(self) -> None:
        """Let the connection go."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _post(self, event: Event, taken: int) -> None:
        import time

        import httpx

        body = event.document()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "isolator-api",
            "X-Isolator-Event": event.kind,
            "X-Isolator-Delivery": str(event.id),
            SIGNATURE_HEADER: signature(self._secret, int(time.time()), body),
        }
        try:
            client = self._opened(httpx)
            with client.stream("POST", self._url, content=body, headers=headers) as response:
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self.close()
            # Not the error's text: it may have the address, and a secret in its path.
            raise NotTaken(f"{type(error).__name__} at {_host(self._url)}", taken) from None
        if not 200 <= status < 300:
            raise NotTaken(
                f"{_host(self._url)} answered {status}",
                taken,
                because_of_event=status in _FIT_TO_BE_DROPPED,
            )

    def _opened(self, httpx: Any) -> httpx.Client:
        if self._client is None:
            verify = self._context if self._context is not None else True
            self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, verify=verify)
        return self._client


class Syslog:
    """RFC 5424 messages, over UDP or over TCP with counted octets (RFC 6587 section 3.4.1).

    Syslog has no receipts: a message is taken when the network took it, so the last ones before a TCP
    server goes away may be lost.
    """

    name = "syslog"

    def __init__(self, host: str, port: int, *, tcp: bool, hostname: str = "") -> None:
        self._where = (host, port)
        self._tcp = tcp
        self._hostname = _printable(hostname or socket.gethostname(), 255)
        self._socket: socket.socket | None = None

    def take(self, events: Sequence[Event]) -> None:
        """Send these in order."""
        for taken, event in enumerate(events):
            message = self.message(event)
            try:
                opened = self._opened()
                if self._tcp:
                    opened.sendall(b"%d %s" % (len(message), message))
                else:
                    opened.send(message)
            except OSError as error:
                self.close()
                raise NotTaken(
                    f"{type(error).__name__} at {self._where[0]}:{self._where[1]}",
                    taken,
                    because_of_event=error.errno == errno.EMSGSIZE,  # more than a datagram holds
                ) from None

    def message(self, event: Event) -> bytes:
        """The event as RFC 5424 has it; the JSON behind a byte-order mark, which says UTF-8."""
        kind = _printable(event.kind, 32)
        at = render_instant(event.created_at)
        head = f"<{_SYSLOG_PRIORITY}>1 {at} {self._hostname} isolator-api {os.getpid()} {kind} - "
        return head.encode("ascii") + b"\xef\xbb\xbf" + event.document()

    def close(self) -> None:
        """Let the connection go."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _opened(self) -> socket.socket:
        if self._socket is not None and self._tcp and _is_gone(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self._connected()
        return self._socket

    def _connected(self) -> socket.socket:
        if self._tcp:
            return socket.create_connection(self._where, TIMEOUT_S)
        family, kind, number, _, address = socket.getaddrinfo(*self._where, type=socket.SOCK_DGRAM)[0]
        opened = socket.socket(family, kind, number)
        try:
            opened.connect(address)
        except OSError:
            opened.close()
            raise
        return opened


class AuditFile:
    """One JSON line an event, on the disk before it counts as taken. Opened anew each time, for rotation."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, events: Sequence[Event]) -> None:
        """Append these in order, all or (on an error) possibly some, which then come again."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
            with os.fdopen(descriptor, "r+b", buffering=0) as file:
                lines = b"".join(each.document() + b"\n" for each in events)
                file.write(self._mended(file.fileno()) + lines)
                os.fsync(file.fileno())
        except OSError as error:
            raise NotTaken(f"{self._path}: {error.strerror}") from None

    def close(self) -> None:
        """Nothing is held open."""

    @staticmethod
    def _mended(descriptor: int) -> bytes:
        """A line break when the last line was cut short, by a full disk or a crash."""
        size = os.fstat(descriptor).st_size
        if size == 0:
            return b""
        os.lseek(descriptor, size - 1, os.SEEK_SET)
        return b"" if os.read(descriptor, 1) == b"\n" else b"\n"


def open_receivers(settings: Settings) -> list[Receiver]:
    """Everybody who is configured. SettingsError when a setting cannot be used. Nothing is connected yet."""
    found: list[Receiver] = []
    if settings.webhook_url:
        found.append(Webhook(_checked_url(settings.webhook_url), _secret(settings.webhook_secret_file)))
    if settings.syslog:
        found.append(_syslog(settings.syslog))
    if settings.audit_file is not None:
        found.append(AuditFile(settings.audit_file))
    return found


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise SettingsError("webhook_url: this is no address") from None
    if not host or parts.scheme not in ("http", "https"):
        raise SettingsError("webhook_url: an https address is needed")
    if parts.scheme == "http" and not _is_here(host):
        raise SettingsError("webhook_url: plain http goes to this host only; use https")
    return url


def _secret(file: Path | None) -> bytes:
    if file is None:
        raise SettingsError("webhook_secret_file: a webhook needs one, its bodies are signed")
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"webhook_secret_file: {file} cannot be read: {error.strerror}") from None
    if len(secret) < MIN_SECRET:
        raise SettingsError(f"webhook_secret_file: {file} needs at least {MIN_SECRET} characters")
    return secret


def _syslog(text: str) -> Syslog:
    scheme, _, rest = text.rpartition("://")
    host, _, port = rest.rpartition(":")
    if scheme not in ("", "tcp", "udp") or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError("syslog: write HOST:PORT, udp://HOST:PORT or tcp://HOST:PORT")
    return Syslog(host.strip("[]"), int(port), tcp=scheme == "tcp")


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def _is_gone(connection: socket.socket) -> bool:
    """Whether the other side has closed: a send would seem to succeed once more."""
    timeout = connection.gettimeout()
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(timeout)


def _printable(text: str, limit: int) -> str:
    """PRINTUSASCII of RFC 5424: no blanks, nothing else either."""
    return "".join(each for each in text if "!" <= each <= "~")[:limit] or "-"
