"""Passwords as Argon2id (RFC 9106; parameters of OWASP's cheat sheet for 19 MiB).

Only a few are worked on at once, so that a flood of sign-ins fills neither memory nor processors.
"""

from __future__ import annotations

import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from api.problems import Problem

SHORTEST, LONGEST = 12, 1024
"""Characters (NIST SP 800-63B: length counts, rules of composition do not)."""

AT_ONCE = 4
WAIT_S = 5.0
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_room = threading.BoundedSemaphore(AT_ONCE)
_NOBODYS = _hasher.hash(secrets.token_urlsafe(32))


def hash_of(password: str) -> str:
    """What the database keeps. Problem ServiceUnavailable when too many others are being worked on."""
    with _turn():
        return _hasher.hash(_spelled(password))


def matches(hashed: str | None, password: str) -> bool:
    """Whether the password belongs to the hash; without a hash it takes as long, and is False.

    Problem ServiceUnavailable when too many others are being worked on.
    """
    if len(password) > LONGEST:
        return False
    with _turn():
        try:
            return _hasher.verify(hashed or _NOBODYS, _spelled(password)) and hashed is not None
        except (Argon2Error, InvalidHashError):
            return False


def is_outdated(hashed: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(hashed)


def check_fitness(password: str, name: str) -> None:
    """Problem InvalidInput for a password that is too short, too long, or holds the account's name."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Problem("InvalidInput", f"a password has {SHORTEST} to {LONGEST} characters")
    if len(set(password)) < 4 or name.casefold() in password.casefold():
        raise Problem("InvalidInput", "the password is too easy to guess")


@contextmanager
def _turn() -> Iterator[None]:
    if not _room.acquire(timeout=WAIT_S):
        raise Problem("ServiceUnavailable", "too many people are signing in", headers={"Retry-After": "5"})
    try:
        yield
    finally:
        _room.release()


def _spelled(password: str) -> bytes:
    """One spelling of what looks the same on every keyboard; what is no Unicode becomes a question mark."""
    return unicodedata.normalize("NFKC", password.encode("utf-8", "replace").decode()).encode()
