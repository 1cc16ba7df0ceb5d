"""The head of an HTTP/1 request, as far as it says where the request goes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Form(Enum):
    """The four forms of a request target (RFC 9112 section 3.2)."""

    ORIGIN = "origin"
    ABSOLUTE = "absolute"
    AUTHORITY = "authority"
    ASTERISK = "asterisk"


@dataclass(frozen=True, slots=True)
class Request:
    """One request head. Host and target agree: a request in which they differ is never made a value.

    `host` is lower case without a last dot; an IPv6 address has no brackets. `port` is None where neither
    target nor Host names one. `path` is normal (RFC 3986 section 6.2.2: no dot segments, escapes only where
    needed) and has no query; "*" and "" for the forms without one. `doubtful` says that servers differ in how
    they read the path, so that a rule about paths cannot be kept.
    """

    method: str
    form: Form
    host: str
    port: int | None
    path: str
    doubtful: bool = False
