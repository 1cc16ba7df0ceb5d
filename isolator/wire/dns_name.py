"""Domain names on the wire: labels, compression pointers (RFC 1035 section 4.1.4) and their text form."""

from __future__ import annotations

from isolator.wire.parse_error import ParseError, Unreadable

MAX_NAME = 255
"""Octets of a name on the wire, the root's included (RFC 1035 section 2.3.4)."""
MAX_LABEL = 63

_ROOT = ("", 1)
_PLAIN = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
"""Octets that stand for themselves in the text; the dot separates and is escaped inside a label."""


class NameReader:
    """Reads the names of one message; remembers what was read, so that no octet is followed twice for long.

    Total work is bounded by the length of the message: each label and each pointer read costs one of
    `steps_left`, and a pointer to a place that was read before costs one however long the name is.
    """

    __slots__ = ("_data", "_known", "steps_left")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._known: dict[int, tuple[str, int]] = {}
        self.steps_left = 128 + len(data)
        """Generous: names in real messages need about a quarter of the octets they take."""

    def read(self, at: int) -> tuple[str, int]:
        """Give the text of the name that begins at `at` and where it ends there.

        Raises ParseError for names that run out of the message or are too long, for reserved label types and
        for pointers that do not go backwards or go into the header.
        """
        data = self._data
        try:
            first = data[at]
            if first >= 0xC0:
                known = self._known.get((first & 0x3F) << 8 | data[at + 1])
                if known is not None:
                    self.steps_left -= 1
                    return known[0], at + 2
            return self._walk(at)
        except IndexError:
            raise ParseError(Unreadable.DNS_TRUNCATED) from None

    def _walk(self, at: int) -> tuple[str, int]:
        """Follow labels and pointers to the root or to a place known already."""
        data, known = self._data, self._known
        runs: list[tuple[int, list[bytes]]] = []
        start = position = at
        labels: list[bytes] = []
        steps, end = self.steps_left, -1
        while True:
            steps -= 1
            if steps < 0:
                raise ParseError(Unreadable.DNS_NAME_WORK)
            length = data[position]
            if length == 0:
                tail = _ROOT
                break
            if length <= MAX_LABEL:
                labels.append(data[position + 1 : position + 1 + length])
                position += 1 + length
                continue
            if length < 0xC0:
                raise ParseError(Unreadable.DNS_LABEL)
            target = (length & 0x3F) << 8 | data[position + 1]
            if not 12 <= target < start:
                raise ParseError(Unreadable.DNS_POINTER)
            if end < 0:
                end = position + 2
            runs.append((start, labels))
            hit = known.get(target)
            if hit is not None:
                tail = hit
                break
            start = position = target
            labels = []
        if not runs or runs[-1][0] != start:
            runs.append((start, labels))
        self.steps_left = steps
        text = self._remember(runs, tail)
        return text, position + 1 if end < 0 else end

    def _remember(self, runs: list[tuple[int, list[bytes]]], tail: tuple[str, int]) -> str:
        """Put the text together from the end; each place where a run begins is known from now on."""
        text, size = tail
        for start, labels in reversed(runs):
            if labels:
                text = f"{_text(labels)}.{text}" if text else _text(labels)
                size += len(labels) + sum(map(len, labels))
                if size > MAX_NAME:
                    raise ParseError(Unreadable.DNS_NAME_TOO_LONG)
            self._known[start] = text, size
        return text


def _text(labels: list[bytes]) -> str:
    joined = b".".join(labels).lower()
    if not joined.translate(None, _PLAIN) and joined.count(b".") == len(labels) - 1:
        return joined.decode("ascii")
    return ".".join(
        "".join(chr(octet) if octet in _PLAIN[:-1] else f"\\{octet:03d}" for octet in label.lower())
        for label in labels
    )


def render_name(name: str) -> bytes:
    """Give the wire form of a name in text without escapes; '' is the root, one trailing dot is fine.

    Raises ValueError for empty or long labels, long names and characters outside ASCII.
    """
    text = name.removesuffix(".")
    if not text:
        return b"\0"
    wire = b"".join(bytes((len(label),)) + label for label in _labels(text)) + b"\0"
    if len(wire) > MAX_NAME:
        raise ValueError(f"a name has at most {MAX_NAME} octets")
    return wire


def _labels(text: str) -> list[bytes]:
    labels = text.encode("ascii").split(b".")
    if not all(0 < len(label) <= MAX_LABEL for label in labels):
        raise ValueError(f"a label has 1 to {MAX_LABEL} octets")
    return labels
