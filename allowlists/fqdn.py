"""Host names: the normal form, what may be a pattern, and when a pattern covers a name."""

from __future__ import annotations

import re
from collections.abc import Iterator

from allowlists.model import Match, ParseError

MAX_NAME = 253
"""Octets of a name as text without the root's dot: 255 on the wire (RFC 1035 section 2.3.4)."""
MAX_LABEL = 63
"""Octets of one label (RFC 1035 section 2.3.4)."""
MAX_STARS = 4
"""Stars in one pattern; more is a mistake."""

# A letter, digit or underscore at both ends, hyphens inside (RFC 1123 section 2.1). The underscore is not a
# host name's letter there, yet service names carry it (RFC 8552) and resolvers answer for it.
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?+"
_NORMAL = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+").fullmatch
are_labels = re.compile(rf"(?:{_LABEL}\.)*+").fullmatch
"""Match text that is any number of labels in normal form, a dot behind each; None when it is not."""
_LABEL_CHARACTERS = re.compile(r"[a-z0-9_-]*").fullmatch
# A last label that a URL parser reads as a number makes the whole an IPv4 address (WHATWG URL, host parsing).
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch


def is_normal(name: str) -> bool:
    """Say whether `normalise` would give the name back unchanged."""
    if len(name) > MAX_NAME or _NORMAL(name) is None:
        return False
    return _NUMERIC(name[name.rfind(".") + 1 :]) is None


def normalise(name: str) -> str:
    """Give a name in lower case, without the root's dot, in A-labels (RFC 5890).

    Underscores may stand in labels. Raises ParseError for an empty name, an address, a label or name that is
    too long (RFC 1035 section 2.3.4), a label that begins or ends with a hyphen and any other character.
    """
    if is_normal(name):
        return name
    text = name if name.isascii() else _to_ascii(name)
    text = text.lower().removesuffix(".")
    if is_normal(text):
        return text
    raise ParseError(f"{_shown(name)} is not a host name: {_fault(text)}")


def _to_ascii(name: str) -> str:
    """Map a name with other than ASCII characters to A-labels (UTS 46, then IDNA 2008)."""
    if len(name) > MAX_NAME + 1:  # A-labels are never shorter, and the mapping takes time
        raise ParseError(f"{_shown(name)} is not a host name: {_fault('x' * len(name))}")
    import idna  # costs some milliseconds and few names need it

    try:
        mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        labels = mapped.split(".")
        return ".".join(x if x.isascii() else idna.alabel(x).decode("ascii") for x in labels)
    except (idna.IDNAError, UnicodeError):
        fault = "it is no internationalised name (RFC 5891)"
        raise ParseError(f"{_shown(name)} is not a host name: {fault}") from None


def _shown(name: str) -> str:
    """Quote a name for a message; control characters escaped, a long one cut."""
    return ascii(name if len(name) <= 80 else name[:77] + "...")


def _fault(text: str) -> str:
    """Say what is wrong with a name that is not in normal form."""
    if not text:
        return "it is empty"
    if len(text) > MAX_NAME:
        return f"it has {len(text)} characters, at most {MAX_NAME} are possible"
    for label in text.split("."):
        if not label:
            return "it has an empty label"
        if _LABEL_CHARACTERS(label) is None:
            return f"the label {_shown(label)} has a character that no host name has"
        if len(label) > MAX_LABEL:
            return f"a label has {len(label)} characters, at most {MAX_LABEL} are possible"
        if label[0] == "-" or label[-1] == "-":
            return f"the label {_shown(label)} begins or ends with a hyphen"
    return "its last label is a number, so programs take it for an address"


def parse_host(text: str) -> tuple[str, Match]:
    """Give the host part of a pattern in normal form and how it matches.

    Raises ParseError for what `normalise` refuses, for a pattern that leaves no label fixed, for two stars
    side by side and for a star in the last label.
    """
    if "*" not in text:
        return normalise(text), Match.EXACT
    if text.startswith("*.") and "*" not in text[2:]:
        return "*." + normalise(text[2:]), Match.SUBDOMAINS
    if text.count("*") > MAX_STARS or "**" in text:
        raise ParseError(f"{_shown(text)} has too many stars: at most {MAX_STARS}, never two side by side")
    # The star stands for a letter while the rest is checked; the pattern keeps its star.
    plain = text.lower().removesuffix(".")
    if not plain.isascii() or not is_normal(plain.replace("*", "x")):
        raise ParseError(f"{_shown(text)} is not a host name with stars: {_fault(plain.replace('*', 'x'))}")
    last = plain[plain.rfind(".") + 1 :]
    if "*" in last:
        raise ParseError(f"{_shown(text)} leaves the top-level domain open; write it out")
    return plain, Match.GLOB


def matches(host: str, match: Match, name: str, *, apex: bool = False) -> bool:
    """Say whether a host in the form of `parse_host` covers a normalised name; networks cover no names."""
    if match is Match.EXACT:
        return name == host
    if match is Match.SUBDOMAINS:
        suffix = host[2:]
        return is_under(name, suffix) or (apex and name == suffix)
    return match is Match.GLOB and glob_matches(host, name)


def is_under(name: str, suffix: str) -> bool:
    """Say whether a normalised name has one or more labels left of the suffix."""
    return name.endswith("." + suffix)


def suffixes(name: str) -> Iterator[str]:
    """Give what is left of the name as labels go away from the left; not the name itself."""
    dot = name.find(".")
    while dot >= 0:
        yield name[dot + 1 :]
        dot = name.find(".", dot + 1)


def glob_matches(pattern: str, name: str) -> bool:
    """Say whether a pattern with stars covers a normalised name.

    A star that is a whole label stands for one or more labels; a star inside a label for any number of
    characters of that label, none included: it never crosses a dot. The time is bounded by the product of
    the lengths, whatever the pattern.
    """
    wanted: list[str] = []
    for label in pattern.split("."):
        # One or more labels = exactly one, then any number.
        wanted.extend(("?", "*") if label == "*" else (label,))
    return _sequence_matches(wanted, name.split("."))


def _sequence_matches(wanted: list[str], labels: list[str]) -> bool:
    """Match label by label; "?" is any one label, "*" any number. Backs up to the last star only."""
    at, position, star, resume = 0, 0, -1, 0
    while position < len(labels):
        if at < len(wanted) and wanted[at] == "*":
            star, resume = at, position
            at += 1
        elif at < len(wanted) and _label_matches(wanted[at], labels[position]):
            at += 1
            position += 1
        elif star >= 0:
            resume += 1
            at, position = star + 1, resume
        else:
            return False
    while at < len(wanted) and wanted[at] == "*":
        at += 1
    return at == len(wanted)


def _label_matches(wanted: str, label: str) -> bool:
    """Match one label; each star takes as little as it can, which is enough when the end is anchored."""
    if wanted == "?":
        return True
    if "*" not in wanted:
        return wanted == label
    first, *middle, last = wanted.split("*")
    if len(label) < len(first) + len(last) or not label.startswith(first) or not label.endswith(last):
        return False
    position, end = len(first), len(label) - len(last)
    for piece in middle:
        found = label.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True
