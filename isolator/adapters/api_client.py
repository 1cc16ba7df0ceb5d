"""ControllerClient over HTTPS: one connection that is kept, one call at a time, nothing without an end.

TLS keeps secrets (the enrolment token, reports) and strangers out. What is obeyed rests on signatures
inside, so after enrolment a certificate whose *dates* do not fit this device's clock is taken all the same:
a device with a wrong clock, or a controller with an expired certificate, must not leave an isolated host
without anybody who can release it. Issuer and name are always checked.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from isolator.model.config import ControllerSettings
from isolator.model.failure import FailureCode, IsolatorError
from isolator.ports import Reply

LOG = logging.getLogger(__name__)

MAX_REPLY = 1024 * 1024
"""Bytes of a reply's body: an order with 500 exclusions is some 100 KB."""

CONNECT_S = 10.0

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME (openssl/x509_vfy.h); Python has no name for it."""

_NOT_YET_VALID, _EXPIRED = 9, 10
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


class HttpsControllerClient:
    """A line to the controller of these settings; on `enrol_path` the certificate's dates count too."""

    def __init__(self, settings: ControllerSettings, *, enrol_path: str = "/agent/v1/enrol") -> None:
        parts = urlsplit(settings.url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._prefix = parts.path.rstrip("/")
        self._ca = settings.ca
        self._enrol_path = enrol_path
        self._connection: http.client.HTTPConnection | None = None
        self._wire: socket.socket | None = None
        self._asking = False

    def post(self, path: str, body: Mapping[str, object], deadline_s: float) -> Reply:
        """Ask and wait; CONTROLLER_UNREACHABLE for no reply in time, BAD_CONFIG for an unusable CA file."""
        until = time.monotonic() + deadline_s
        # A server that sends a byte now and then would keep a socket's time-out from ever passing.
        watch = threading.Timer(deadline_s, self.close)
        watch.daemon = True
        try:
            connection = self._ready(path, min(CONNECT_S, deadline_s))
            self._asking = True
            watch.start()
            reply, ends = self._ask(connection, path, json.dumps(body).encode(), until)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._drop()
            raise self._unreachable(error, in_time=time.monotonic() < until) from error
        finally:
            self._asking = False
            watch.cancel()
        if ends:
            self._drop()
        return reply

    def close(self) -> None:
        """Give the connection up; a call that waits for it ends with CONTROLLER_UNREACHABLE."""
        wire = self._wire
        if wire is not None:
            with contextlib.suppress(OSError):
                # Of the socket, not of TLS: that one would take the session from under a thread that reads.
                socket.socket.shutdown(wire, socket.SHUT_RDWR)
        if not self._asking:
            self._drop()

    def _drop(self) -> None:
        wire, self._wire, self._connection = self._wire, None, None
        if wire is not None:
            wire.close()

    def _ready(self, path: str, patience_s: float) -> http.client.HTTPConnection:
        """The kept connection when the server still has it, else a new one."""
        if self._connection is not None and self._wire is not None and not _has_ended(self._wire):
            return self._connection
        self._drop()
        self._wire = self._connect(path, patience_s)
        connection = http.client.HTTPConnection(self._host, self._port)
        connection.sock = self._wire
        connection.auto_open = False  # a line that broke is opened by us, with TLS
        self._connection = connection
        return connection

    def _connect(self, path: str, patience_s: float) -> ssl.SSLSocket:
        try:
            return self._secured(patience_s, dates=True)
        except ssl.SSLCertVerificationError as error:
            if error.verify_code not in (_NOT_YET_VALID, _EXPIRED) or path == self._enrol_path:
                raise
            LOG.warning(
                "the controller's certificate is out of date by this device's clock (%s); orders are "
                "believed by their signatures, so the line is used",
                error.verify_message,
            )
            return self._secured(patience_s, dates=False)

    def _secured(self, patience_s: float, *, dates: bool) -> ssl.SSLSocket:
        context = self._context()
        if not dates:
            context.verify_flags |= _NO_CHECK_TIME
        plain = socket.create_connection((self._host, self._port), patience_s)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return context.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except (OSError, ssl.SSLError) as error:
            sentence = f"`controller.ca` cannot be read: {self._ca}: {error.strerror or error}"
            raise IsolatorError(FailureCode.BAD_CONFIG, "connect", sentence) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _ask(
        self, connection: http.client.HTTPConnection, path: str, body: bytes, until: float
    ) -> tuple[Reply, bool]:
        """The reply, and whether the server ends the connection with it."""
        wire = connection.sock
        wire.settimeout(max(0.001, until - time.monotonic()))
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", self._prefix + path, body, headers)
        with connection.getresponse() as response:
            content = response.read(MAX_REPLY + 1)
            if len(content) > MAX_REPLY:
                raise ValueError(f"the reply is longer than {MAX_REPLY} bytes")
            if response.length:  # http.client gives a short body without a word
                raise http.client.IncompleteRead(content, response.length)
            ends = response.will_close
        try:
            return Reply(response.status, json.loads(content)), ends
        except (ValueError, RecursionError):
            return Reply(response.status, None), ends

    def _unreachable(self, error: Exception, *, in_time: bool) -> IsolatorError:
        where = f"{self._host}:{self._port}"
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not good ({error.verify_message}); check `controller.ca` in agent.yaml"
        elif isinstance(error, TimeoutError) or not in_time:
            why = "it did not answer in time"
        else:
            why = f"the connection failed ({error or type(error).__name__})"
        return IsolatorError(
            FailureCode.CONTROLLER_UNREACHABLE, "ask", f"the controller at {where} cannot be asked: {why}"
        )


def _has_ended(wire: socket.socket) -> bool:
    """Nobody speaks between our questions: anything to read is the server's goodbye."""
    try:
        readable, _, _ = select.select([wire], [], [], 0)
    except (OSError, ValueError):  # closed by us
        return True
    return bool(readable)
