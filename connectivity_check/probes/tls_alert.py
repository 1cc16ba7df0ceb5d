"""TLS alerts (RFC 8446 section 6): numbers and names, from bytes and from OpenSSL's words."""

from __future__ import annotations

ALERTS = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}
_NUMBERS = {name: number for number, name in ALERTS.items()}
_WITHOUT_ALERT = frozenset(
    (
        "UNSUPPORTED_EXTENSION",
        "CERTIFICATE_UNOBTAINABLE",
        "UNRECOGNIZED_NAME",
        "BAD_CERTIFICATE_STATUS_RESPONSE",
        "BAD_CERTIFICATE_HASH_VALUE",
    )
)
"""OpenSSL's words for these five alerts are TLSV1_x without ALERT (ssl/ssl_err.c)."""

_ALERT_RECORD = 21
_CONTENT_TYPES = frozenset((20, 21, 22, 23))


def alert_of(reason: str) -> tuple[int | None, str]:
    """Give number and name of the received alert that an OpenSSL reason stands for, else (None, "").

    "SSLV3_ALERT_HANDSHAKE_FAILURE" -> (40, "handshake_failure"). This is the only way to see an alert
    that came encrypted.
    """
    prefix, _, rest = reason.partition("_")
    if prefix not in ("SSLV3", "TLSV1", "TLSV13"):
        return None, ""
    if rest.startswith("ALERT_"):
        name = rest[len("ALERT_") :].lower()
    elif rest in _WITHOUT_ALERT:
        name = rest.lower()
    else:
        return None, ""
    return (_NUMBERS[name], name) if name in _NUMBERS else (None, "")


def is_tls(start: bytes) -> bool:
    """Tell whether bytes can be the start of a TLS record; empty can."""
    if not start:
        return True
    # Record header, RFC 8446 section 5.1: type, then version 3.x.
    return start[0] in _CONTENT_TYPES and start[1:2] in (b"", b"\x03")


class AlertWatch:
    """Finds an alert that is sent in the clear, whatever the TLS library makes of it.

    Feed it all received bytes of a handshake. Encrypted alerts are longer than two bytes and not seen here.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        """Of the last alert in the clear."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next received bytes."""
        self._buffer += data
        while len(self._buffer) >= 5:
            length = int.from_bytes(self._buffer[3:5], "big")
            if len(self._buffer) < 5 + length:
                return
            if self._buffer[0] == _ALERT_RECORD and length == 2:
                self.number = self._buffer[6]
            del self._buffer[: 5 + length]
