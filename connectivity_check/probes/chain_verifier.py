"""OpenSSL's own verdict on a certificate chain that was received earlier, and against any store.

The ssl module verifies only inside a handshake, and a handshake that fails to verify leaves neither the
chain nor a connection one could read a block page from. So the handshake on the wire takes any certificate,
and the verdict comes from a second, private one: an SSLObject in memory is handed a made-up ServerHello
(TLS 1.2, RFC 5246 section 7.4) and the received chain. OpenSSL verifies a chain when it has read the
Certificate message, before it needs anything that only the holder of the key could send; there we stop.
Costs about 0.3 ms and no packet.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from connectivity_check.probes.stream_error import openssl_reason

X509_V_FLAG_NO_CHECK_TIME = 0x200000
"""x509_vfy.h; the ssl module has no name for it."""

_RSA, _ECDSA = b"\xc0\x2f", b"\xc0\x2b"
_CIPHERS = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"
# ServerHello: version, 32 bytes random, no session; the empty renegotiation_info (RFC 5746) because OpenSSL 3
# refuses servers without it.
_HELLO = b"\x03\x03" + bytes(32) + b"\x00" + b"%b" + b"\x00" + b"\x00\x05\xff\x01\x00\x01\x00"
_MAX_RECORD = 16384
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*")
_KEY_TYPE_ERRORS = frozenset(("WRONG_CERTIFICATE_TYPE", "UNKNOWN_CERTIFICATE_TYPE"))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a chain verifies; `code` and `reason` are OpenSSL's, 0 and "" when it does.

    `code` -1: OpenSSL could not read the chain at all. `root` is the trust anchor's DER when verified.
    """

    code: int = 0
    reason: str = ""
    root: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the chain verifies."""
        return self.code == 0


def verifying_context(*, check_name: bool = True, check_time: bool = True) -> ssl.SSLContext:
    """Give a context for `verify`, with no authority in it yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.check_hostname = check_name
    # 3.13 adds VERIFY_X509_STRICT to its own default contexts; no agent does, so neither do we.
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST
    if not check_time:
        context.verify_flags = ssl.VerifyFlags(context.verify_flags | X509_V_FLAG_NO_CHECK_TIME)
    return context


def server_hostname(name: str) -> str | bytes:
    """Give a name as the ssl module takes it.

    Texts pass through its codec for international names, which takes long, and longer still to be loaded.
    Of a plain name it makes the same bytes.
    """
    return name.encode() if _PLAIN_NAME.fullmatch(name) else name


def verify(context: ssl.SSLContext, chain: Sequence[bytes], name: str) -> Verdict:
    """Verify a chain (DER, leaf first) for a name or address; `name` counts only if the context checks names.

    Any bytes may be in `chain`. Raises nothing.
    """
    if not chain or any(not der for der in chain):
        return Verdict(-1, "no certificate")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        puppet = context.wrap_bio(
            incoming, outgoing, server_hostname=server_hostname(name) if context.check_hostname else None
        )
    except (ValueError, TypeError, ssl.SSLError) as error:  # a leading dot, a zero byte...
        return Verdict(-1, f"the name cannot be checked: {error}")
    cipher = _ECDSA if _is_elliptic(chain[0]) else _RSA
    hello = _message(2, _HELLO % cipher)
    listed = b"".join(len(der).to_bytes(3, "big") + der for der in chain)
    try:
        _advance(puppet)
        incoming.write(_records(hello + _message(11, len(listed).to_bytes(3, "big") + listed)))
        _advance(puppet)
    except ssl.SSLCertVerificationError as error:
        return Verdict(error.verify_code, error.verify_message)
    except ssl.SSLError as error:
        reason = openssl_reason(error)
        if reason not in _KEY_TYPE_ERRORS:  # those come after verification, and only then
            return Verdict(-1, reason or "the chain cannot be read")
    verified = verified_chain(puppet)
    return Verdict(0, "", verified[-1]) if verified else Verdict(-1, "the chain was not verified")


def verified_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """Give the DER of the chain that OpenSSL built, leaf first. Verified only if no error was raised."""
    return _ders(connection, "get_verified_chain")


def received_chain(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """Give the DER of the chain that the peer sent, leaf first; empty before its Certificate message."""
    return _ders(connection, "get_unverified_chain")


def _ders(connection: ssl.SSLObject, method: str) -> tuple[bytes, ...]:
    # Public from 3.13 (bytes); before, only on the object below (with Certificate objects).
    inner = getattr(connection, "_sslobj", connection)
    found = getattr(inner, method)() or ()
    return tuple(item if isinstance(item, bytes) else bytes(item.public_bytes(2)) for item in found)


def _advance(puppet: ssl.SSLObject) -> None:
    try:
        puppet.do_handshake()
    except ssl.SSLWantReadError:
        return


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def _records(data: bytes) -> bytes:
    parts = (data[start : start + _MAX_RECORD] for start in range(0, len(data), _MAX_RECORD))
    return b"".join(b"\x16\x03\x03" + len(part).to_bytes(2, "big") + part for part in parts)


# Object identifiers of keys that need an ECDSA cipher: id-ecPublicKey, Ed25519, Ed448 (RFC 5480, 8410).
_ELLIPTIC = (
    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
    b"\x30\x05\x06\x03\x2b\x65\x70\x03\x21",
    b"\x30\x05\x06\x03\x2b\x65\x71\x03",
)


def _is_elliptic(leaf: bytes) -> bool:
    """Tell the key type; a wrong answer only gives a key type error, which comes after verification."""
    return any(oid in leaf for oid in _ELLIPTIC)
