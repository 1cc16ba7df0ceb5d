"""The server name in a ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3)."""

from __future__ import annotations


def server_name(record: bytes) -> str | None:
    """The name that is asked for; "" when none is; None when these bytes are no whole ClientHello (yet)."""
    if len(record) < 5 or record[0] != 22 or len(record) < 5 + int.from_bytes(record[3:5]):
        return None
    body = record[5 : 5 + int.from_bytes(record[3:5])]
    if not body or body[0] != 1:
        return None
    at = 4 + 2 + 32
    at += 1 + body[at]  # session id
    at += 2 + int.from_bytes(body[at : at + 2])  # cipher suites
    at += 1 + body[at]  # compression
    end = at + 2 + int.from_bytes(body[at : at + 2])
    at += 2
    while at + 4 <= end:
        kind, size = int.from_bytes(body[at : at + 2]), int.from_bytes(body[at + 2 : at + 4])
        if kind == 0:
            return body[at + 9 : at + 4 + size].decode("ascii", "replace")
        at += 4 + size
    return ""
