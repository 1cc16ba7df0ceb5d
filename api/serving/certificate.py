"""The controller's own certificate, taken anew when its file changes without a connection being dropped."""

from __future__ import annotations

import logging
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

from api.settings import Settings, SettingsError

_log = logging.getLogger(__name__)


class Certificate:
    """Certificate chain and key of the server. New connections get the newest; open ones keep theirs."""

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain = chain
        self._key = key
        self._seen = self._stamp()
        self.context = self._load()

    def refresh(self, *, forced: bool = False) -> bool:
        """Take the files anew when they changed (`forced`: anyway). Bad ones are logged, the old stay."""
        stamp = self._stamp()
        if stamp == self._seen and not forced:
            return False
        self._seen = stamp
        try:
            self._load()  # into a context of its own first: a bad pair must not end up half in the live one
            self.context.load_cert_chain(self._chain, self._key, password=_no_password)
        except (SettingsError, OSError, ValueError) as error:
            _log.error("the new certificate is not taken, the old one stays: %s", error)
            return False
        _log.info("took the certificate in %s anew", self._chain)
        return True

    def _load(self) -> ssl.SSLContext:
        for file in (self._chain, self._key):
            try:
                file.read_bytes()
            except OSError as error:
                raise SettingsError(f"{file} cannot be read: {error.strerror}") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._chain, self._key, password=_no_password)
        except (ssl.SSLError, ValueError) as error:
            raise SettingsError(_reason(self._chain, self._key, error)) from None
        self._warn_of_its_end()
        return context

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a file is replaced, or the link to it is."""
        found = []
        for file in (self._chain, self._key):
            try:
                status = os.stat(file)
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def _warn_of_its_end(self) -> None:
        from cryptography import x509

        try:
            ends_at = x509.load_pem_x509_certificate(self._chain.read_bytes()).not_valid_after_utc
        except (ValueError, OSError):
            return
        days = (ends_at - datetime.now(UTC)).days
        if days < 14:
            _log.warning(
                "the certificate in %s %s", self._chain, "is over" if days < 0 else f"ends in {days} days"
            )


def certificate_of(settings: Settings) -> Certificate | None:
    """The configured certificate; None for plain HTTP. SettingsError when it cannot be used."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert, settings.tls_key)


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # otherwise OpenSSL would ask at the terminal


def _reason(chain: Path, key: Path, error: Exception) -> str:
    if str(error) == "the key is encrypted":
        return f"{key} is encrypted, and nobody is there to type its password at a start"
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return f"{key} is not the key of the certificate in {chain}"
    if b"PRIVATE KEY" not in key.read_bytes():
        return f"{key} holds no private key in PEM"
    return f"{chain} holds no certificate chain that can be served, or {key} is damaged"
