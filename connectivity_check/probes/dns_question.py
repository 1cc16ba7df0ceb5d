"""What is asked of a resolver: names and addresses as typed, and the bytes of a query."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import ip_address

PORT = 53

_LONGEST_NAME = 253
"""Characters without the final dot: what fits the 255 bytes of RFC 1035 section 2.3.4."""

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}")
"""Letters, digits, hyphen, and the underscore that service names use: nothing else reaches the wire."""

_ROOT = b"\x00"
_IN = 1
_RECURSION_DESIRED = 0x0100

_OPT = struct.pack("!BHHBBHH", 0, 41, 1232, 0, 0, 0, 0)
"""EDNS0 (RFC 6891) so that explanations (EDE, RFC 8914) come back. 1232 bytes fit one packet on any link
(RFC 9715)."""


class QuestionType(IntEnum):
    """What is asked for, by its number on the wire."""

    A = 1
    AAAA = 28


@dataclass(frozen=True, slots=True)
class Question:
    """One name and type, and the bytes of the question section."""

    name: str
    """In lower case."""
    kind: QuestionType
    section: bytes

    def is_repeated_in(self, message: bytes) -> bool:
        """Whether a message's question section is this one, letter case aside (RFC 1035 section 2.3.3).

        The numbers in the section survive `lower()`: length bytes stay under 64, types and class are ours.
        """
        return message[12 : 12 + len(self.section)].lower() == self.section.lower()

    def render(self, message_id: int, *, edns: bool = True) -> bytes:
        """Give the query: recursion desired, one question, EDNS0 unless told not to."""
        head = struct.pack("!HHHHHH", message_id, _RECURSION_DESIRED, 1, 0, 0, int(edns))
        return head + self.section + (_OPT if edns else b"")


def make_question(name: str, kind: QuestionType) -> Question:
    """Give the question for a name as `parse_name` gave it."""
    labels = b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split("."))
    return Question(name.lower(), kind, labels + _ROOT + struct.pack("!HH", kind, _IN))


def parse_name(text: str) -> str:
    """Give a host name in ASCII, without the final dot.

    Names in other scripts become A-labels (IDNA 2008 after UTS 46). Raises ValueError with one sentence for
    what cannot be asked: empty or too long labels, too long names, other characters.
    """
    name = text if text.isascii() else _to_ascii(text)
    name = name.removesuffix(".")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"the name has {len(name)} characters, {_LONGEST_NAME} are the most")
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            raise ValueError(f"{label[:80]!r} is not a label of a host name")
    return name


def _to_ascii(text: str) -> str:
    import idna

    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{text[:80]!r} is no international name: {error}") from error


def parse_server(server: str | tuple[str, int]) -> tuple[str, int]:
    """Give a resolver's address and port; 53 when the text has none.

    Takes `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5353`, and pairs.
    Raises ValueError for anything that is not an address with a port: a resolver has no name.
    """
    if not isinstance(server, str):
        address, port = server
    elif server.startswith("["):
        address, closed, rest = server[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError(f"{server[:80]!r} is no address with a port")
        port = _parse_port(rest[1:]) if rest else PORT
    elif server.count(":") == 1:
        address, _, rest = server.partition(":")
        port = _parse_port(rest)
    else:
        address, port = server, PORT
    if not 0 < port < 65536:
        raise ValueError(f"{port} is no port")
    return str(ip_address(address)), port


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text[:20]!r} is no port")
    return int(text[:6])
