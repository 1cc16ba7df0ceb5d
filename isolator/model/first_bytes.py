"""First bytes of a connection that are not what they should be, as a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Garbled:
    """Bytes that cannot be read; `code` says how, in the stable words of `wire.parse_error.Unreadable`."""

    code: str
