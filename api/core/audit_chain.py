"""The audit chain: every row carries the hash of the one before it and of its own content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from api.core.canonical import canonical_bytes

GENESIS = "0" * 64
"""What the first row of a chain points to."""


@dataclass(frozen=True, slots=True)
class Link:
    """One row as the chain sees it."""

    seq: int
    content: Mapping[str, Any]
    previous: str
    hash: str


def link_hash(seq: int, previous: str, content: Mapping[str, Any]) -> str:
    """Hex SHA-256 over the previous hash, the number and the canonical content."""
    return hashlib.sha256(f"{previous}\n{seq}\n".encode() + canonical_bytes(content)).hexdigest()


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """Whether a chain is whole; if not, the first broken row and what is wrong with it."""

    rows: int
    head: str
    broken_seq: int | None = None
    reason: str = ""

    @property
    def whole(self) -> bool:
        """No row is missing, altered or out of place."""
        return self.broken_seq is None


def verify_chain(links: Iterable[Link], *, head: tuple[int, str] | None = None) -> ChainVerdict:
    """Walk the links in order of number. `head`: number and hash the chain must end with, when known.

    An empty chain is whole unless a head says otherwise.
    """
    previous, seq = GENESIS, 0
    for each in links:
        expected = seq + 1
        if each.seq != expected:
            return ChainVerdict(seq, previous, expected, f"row {expected} is missing")
        if each.previous != previous:
            return ChainVerdict(seq, previous, expected, "does not point to the row before it")
        if link_hash(each.seq, each.previous, each.content) != each.hash:
            return ChainVerdict(seq, previous, expected, "its content is not what was hashed")
        previous, seq = each.hash, each.seq
    if head is not None and head != (seq, previous):
        number = min(head[0], seq) + 1 if head[0] != seq else seq
        return ChainVerdict(seq, previous, number, f"the chain ends at row {seq}, the head says {head[0]}")
    return ChainVerdict(seq, previous)
