"""What a plain certificate says of itself, read fast: `cryptography` takes 0.2 ms, and 20 ms to be loaded.

Plain is what public authorities sign every day: X.509 version 3 with an RSA key or one on P-256 or P-384,
names of the usual attributes, and host names or addresses as alternative names (RFC 5280 section 4.1).
Whatever else is in a certificate, or looks odd, is left to `cryptography`, which also decides what cannot be
read. Here no key and no signature is checked: OpenSSL does that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NamedTuple

_INTEGER, _BITS, _OCTETS, _OID, _UTF8, _SEQUENCE, _SET = 0x02, 0x03, 0x04, 0x06, 0x0C, 0x30, 0x31
_PRINTABLE, _UTC_TIME, _TIME, _BOOLEAN = 0x13, 0x17, 0x18, 0x01
_EXTENSIONS, _DNS_NAME, _IP_ADDRESS = 0xA3, 0x82, 0x87
_VERSION_3 = b"\xa0\x03\x02\x01\x02"
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"

# The algorithms as they stand in front of the key (RFC 3279 section 2.3.1, RFC 5480 section 2.1.1).
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")
_EXPONENT = b"\x02\x03\x01\x00\x01"
_MODULUS_BYTES = range(128, 1025)


class _Curve(NamedTuple):
    """y^2 = x^3 - 3x + b modulo p (SP 800-186 section 3.2.1)."""

    prefix: bytes
    """All in front of the coordinates: algorithm, curve, and that both are given."""
    p: int
    b: int


_CURVES = (
    _Curve(
        bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107") + b"\x03\x42\x00\x04",
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    _Curve(
        bytes.fromhex("301006072a8648ce3d020106052b81040022") + b"\x03\x62\x00\x04",
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
)

_COMMON_NAME = b"\x55\x04\x03"
_ATTRIBUTES = {
    _COMMON_NAME: "CN",
    b"\x55\x04\x06": "C",
    b"\x55\x04\x07": "L",
    b"\x55\x04\x08": "ST",
    b"\x55\x04\x09": "STREET",
    b"\x55\x04\x0a": "O",
    b"\x55\x04\x0b": "OU",
}
"""The attributes that have a short name (RFC 4514 section 3)."""
_PLAIN_TEXT = re.compile(r"[^\"+;<>\\#\s](?:[^\"+;<>\\]*[^\"+;<>\\\s])?")
"""Of which nothing but a comma needs to be escaped (RFC 4514 section 2.4)."""
_PLAIN_ASCII = re.compile(rb"[A-Za-z0-9 '(),./:=?-]+")
_HOST = re.compile(rb"[A-Za-z0-9*._-]+")
_DIGITS = re.compile(rb"[0-9]+Z")


class PlainCertificate(NamedTuple):
    """One certificate. Distinguished names are as RFC 4514 has them."""

    subject: str
    issuer: str
    common_name: str
    issuer_common_name: str
    spki: bytes
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]


def read_plain(der: bytes) -> PlainCertificate | None:
    """Give what is in a certificate (DER), None when it is not plain. Raises nothing."""
    try:
        return _certificate(der)
    except (ValueError, IndexError):
        return None


def _certificate(der: bytes) -> PlainCertificate:
    whole, end = _inside(der, 0, len(der), _SEQUENCE)
    at, signed_end = _inside(der, whole, end, _SEQUENCE)
    bits_at = _past(der, signed_end, end, _SEQUENCE)
    bits, bits_end = _inside(der, bits_at, end, _BITS)
    if end != len(der) or bits_end != end or der[bits] or not der.startswith(_VERSION_3, at):
        raise ValueError
    at = _past(der, at + len(_VERSION_3), signed_end, _INTEGER)
    issuer_at = _past(der, at, signed_end, _SEQUENCE)
    if der[at:issuer_at] != der[signed_end:bits_at]:  # the algorithm of the signature stands here twice
        raise ValueError
    dates_at = _past(der, issuer_at, signed_end, _SEQUENCE)
    subject_at = _past(der, dates_at, signed_end, _SEQUENCE)
    key_at = _past(der, subject_at, signed_end, _SEQUENCE)
    key_end = _past(der, key_at, signed_end, _SEQUENCE)
    _check_key(der, key_at, key_end)
    if _past(der, key_end, signed_end, _EXTENSIONS) != signed_end:
        raise ValueError
    subject, common_name = _name(der, subject_at, key_at)
    issuer, issuer_common_name = _name(der, issuer_at, dates_at)
    not_before, not_after = _dates(der, dates_at, subject_at)
    names = _alternative_names(der, key_end, signed_end)
    spki = der[key_at:key_end]
    return PlainCertificate(
        subject, issuer, common_name, issuer_common_name, spki, not_before, not_after, names
    )


def _inside(der: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Give where the contents of the element at `at` begin and end; ValueError unless it has this tag."""
    length = der[at + 1]
    if der[at] != tag:
        raise ValueError
    at += 2
    if length >= 0x80:
        size = length & 0x7F
        length = int.from_bytes(der[at : at + size], "big")
        at += size
        if not 1 <= size <= 2 or length < (0x80 if size == 1 else 0x100):
            raise ValueError  # not the shortest form (X.690 section 10.1), or longer than certificates are
    if at + length > end:
        raise ValueError
    return at, at + length


def _past(der: bytes, at: int, end: int, tag: int) -> int:
    """Give where the element at `at` ends."""
    return _inside(der, at, end, tag)[1]


def _each(der: bytes, at: int, end: int, tag: int) -> Iterator[tuple[int, int]]:
    """Go through the elements up to `end`, all with the same tag; give what `_inside` gives."""
    while at < end:
        begin, at = _inside(der, at, end, tag)
        yield begin, at


def _check_key(der: bytes, at: int, end: int) -> None:
    """ValueError unless `cryptography` would write the key as it stands here."""
    at, _ = _inside(der, at, end, _SEQUENCE)
    curve = next((each for each in _CURVES if der.startswith(each.prefix, at)), None)
    if curve:
        _check_point(curve, der[at + len(curve.prefix) : end])
        return
    if not der.startswith(_RSA, at):
        raise ValueError
    at, key_end = _inside(der, at + len(_RSA), end, _BITS)
    if der[at] or key_end != end:
        raise ValueError
    at, key_end = _inside(der, at + 1, end, _SEQUENCE)
    at, modulus_end = _inside(der, at, end, _INTEGER)
    shortest = der[at] == 0 and der[at + 1] >= 0x80
    if not shortest or modulus_end - at - 1 not in _MODULUS_BYTES:
        raise ValueError
    if key_end != end or not der[modulus_end - 1] & 1 or der[modulus_end:end] != _EXPONENT:
        raise ValueError


def _check_point(curve: _Curve, point: bytes) -> None:
    half = len(point) // 2
    x, y = int.from_bytes(point[:half], "big"), int.from_bytes(point[half:], "big")
    if len(point) * 4 != curve.p.bit_length() or max(x, y) >= curve.p:
        raise ValueError
    if (y * y - x * x * x + 3 * x - curve.b) % curve.p:
        raise ValueError


def _name(der: bytes, at: int, end: int) -> tuple[str, str]:
    """Give a distinguished name and the first common name in it."""
    parts: list[str] = []
    common_name = ""
    for begin, stop in _each(der, _inside(der, at, end, _SEQUENCE)[0], end, _SET):
        at, pair_end = _inside(der, begin, stop, _SEQUENCE)
        at, kind_end = _inside(der, at, stop, _OID)
        kind = _ATTRIBUTES.get(der[at:kind_end])
        if pair_end != stop or kind is None:  # two attributes in one set, or a seldom one
            raise ValueError
        text = _text(der, kind_end, stop)
        if kind == "CN" and not common_name:
            common_name = text
        parts.append(f"{kind}={text}".replace(",", "\\,"))
    return ",".join(reversed(parts)), common_name


def _text(der: bytes, at: int, end: int) -> str:
    begin, stop = _inside(der, at, end, _PRINTABLE if der[at] == _PRINTABLE else _UTF8)
    raw = der[begin:stop]
    text = raw.decode()
    if stop != end or not _PLAIN_TEXT.fullmatch(text) or not text.isprintable():
        raise ValueError
    if der[at] == _PRINTABLE and not _PLAIN_ASCII.fullmatch(raw):
        raise ValueError
    return text


def _dates(der: bytes, at: int, end: int) -> tuple[datetime, datetime]:
    at, _ = _inside(der, at, end, _SEQUENCE)
    until = _past(der, at, end, der[at])
    if _past(der, until, end, der[until]) != end:
        raise ValueError
    return _moment(der, at, until), _moment(der, until, end)


def _moment(der: bytes, at: int, end: int) -> datetime:
    """Read a time in seconds and UTC, the only form in certificates (RFC 5280 section 4.1.2.5)."""
    raw = der[at + 2 : end]
    if not _DIGITS.fullmatch(raw) or (der[at], len(raw)) not in ((_UTC_TIME, 13), (_TIME, 15)):
        raise ValueError
    digits = raw.decode()[:-1]
    if der[at] == _UTC_TIME:
        digits = ("20" if digits < "50" else "19") + digits
    year, *rest = int(digits[:4]), *(int(digits[n : n + 2]) for n in range(4, 14, 2))
    month, day, hour, minute, second = rest
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _alternative_names(der: bytes, at: int, end: int) -> tuple[str, ...]:
    """Give the host names and addresses; ValueError when there are others, or an extension comes twice."""
    at, _ = _inside(der, at, end, _EXTENSIONS)
    at, listed_end = _inside(der, at, end, _SEQUENCE)
    if listed_end != end:
        raise ValueError
    kinds: set[bytes] = set()
    names: tuple[str, ...] = ()
    for begin, stop in _each(der, at, end, _SEQUENCE):
        at, kind_end = _inside(der, begin, stop, _OID)
        kind = der[at:kind_end]
        at = _past(der, kind_end, stop, _BOOLEAN) if der[kind_end] == _BOOLEAN else kind_end
        at, value_end = _inside(der, at, stop, _OCTETS)
        if kind in kinds or value_end != stop:
            raise ValueError
        kinds.add(kind)
        if kind == _ALTERNATIVE_NAMES:
            names = tuple(_hosts(der, at, stop))
    return names


def _hosts(der: bytes, at: int, end: int) -> Iterator[str]:
    at, listed_end = _inside(der, at, end, _SEQUENCE)
    if listed_end != end:
        raise ValueError
    while at < end:
        tag = der[at]
        begin, at = _inside(der, at, end, tag)
        raw = der[begin:at]
        if tag == _DNS_NAME and _HOST.fullmatch(raw):
            yield raw.decode("ascii")
        elif tag == _IP_ADDRESS and len(raw) in (4, 16):
            yield str(ip_address(raw))
        else:
            raise ValueError
