"""Host names as clients write them into a hello or a request."""

from __future__ import annotations

from isolator.wire.parse_error import ParseError, Unreadable

MAX_NAME = 253
"""Characters of a name in text (RFC 1035 section 2.3.4, the wire's octets taken off)."""
MAX_LABEL = 63

_LETTERS = b"abcdefghijklmnopqrstuvwxyz0123456789-_."


def read_host_name(data: bytes) -> str:
    """Give the name in lower case without a last dot.

    Raises ParseError for everything that a resolver could not have been asked for in text: octets outside
    letters, digits, hyphen and underscore (so U-labels, NUL, colons and stars too), empty or long labels.
    Servers cut such names at different places; a name that all read alike is the only kind judged.
    """
    name = data.lower()
    if name[-1:] == b".":
        name = name[:-1]
    if not name or len(name) > MAX_NAME or name.translate(None, _LETTERS):
        raise ParseError(Unreadable.HOST_NAME)
    labels = name.split(b".")
    if b"" in labels or len(max(labels, key=len)) > MAX_LABEL:
        raise ParseError(Unreadable.HOST_NAME)
    return name.decode("ascii")
