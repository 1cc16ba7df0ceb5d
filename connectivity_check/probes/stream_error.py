"""What the end of a stream means: from an OSError to the word for what was seen, with the facts beside it."""

from __future__ import annotations

import errno
import ssl

from connectivity_check.failure import Seen
from connectivity_check.model import Json
from connectivity_check.probes.tls_alert import alert_of

_SEEN = {
    errno.ECONNRESET: Seen.CONNECTION_RESET,
    errno.EPIPE: Seen.CONNECTION_RESET,
    errno.ECONNABORTED: Seen.CONNECTION_RESET,
    errno.ECONNREFUSED: Seen.CONNECTION_REFUSED,
    errno.ETIMEDOUT: Seen.TIMEOUT,
    errno.EHOSTUNREACH: Seen.HOST_UNREACHABLE,
    errno.ENETUNREACH: Seen.NETWORK_UNREACHABLE,
    errno.EPERM: Seen.PERMISSION_DENIED,
    errno.EACCES: Seen.PERMISSION_DENIED,
}


def seen_of(error: OSError) -> tuple[Seen, dict[str, Json]]:
    """Give the word for an error of send or receive, and the evidence: `errno`, `alert`, `error`.

    EPIPE counts as a reset: the peer reset the connection before we wrote. An SSLError without an alert is
    `Seen.OTHER`; the handshake, which knows more, does not come here with one.
    """
    if isinstance(error, ssl.SSLError):
        reason = openssl_reason(error)
        number, name = alert_of(reason)
        if number is not None:
            return Seen.TLS_ALERT, {"alert": number, "alert_name": name}
        return Seen.OTHER, {"error": reason or "TLS error"}
    number = error.errno
    if isinstance(error, TimeoutError) and number is None:
        return Seen.TIMEOUT, {}
    if isinstance(error, ConnectionError) and number is None:
        return Seen.CONNECTION_RESET, {}
    symbol = errno.errorcode.get(number or 0, "")
    # Windows has its own numbers (WSAECONNRESET...); their OSError subclasses tell what they are.
    seen = _SEEN.get(number or 0)
    if seen is None:
        seen = Seen.CONNECTION_RESET if isinstance(error, ConnectionError) else Seen.OTHER
    return seen, {"errno": symbol} if symbol else {"error": type(error).__name__}


def openssl_reason(error: ssl.SSLError) -> str:
    """Give OpenSSL's reason ("UNSUPPORTED_PROTOCOL"), "" when it gave none."""
    return getattr(error, "reason", None) or ""
