"""How often somebody may call: per API client, and for wrong secrets per address and per account.

Moving windows in this process's memory (`limits`): with several workers every limit counts per worker, and a
restart forgets them. A refusal is 429 with Retry-After; refused calls do not prolong the wait.
"""

from __future__ import annotations

import math
import threading
import time
from ipaddress import IPv6Address, ip_address

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from api.problems import Problem
from api.settings import Settings

ACCOUNT_FACTOR = 5
"""An account bears this many times the wrong passwords of an address: one address alone is stopped before it
can lock a person out, many addresses together still are."""

SWEPT_ABOVE = 10_000
"""So many windows may lie about before the empty ones are thrown away; names are the caller's choice."""


class Limits:
    """The windows of one process. Threads may share it."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._windows = MovingWindowRateLimiter(self._storage)
        # The storage's own locks are per key and come and go; judging and counting belong together.
        self._lock = threading.Lock()
        self._swept_above = SWEPT_ABOVE

    def call(self, settings: Settings, client_id: str) -> None:
        """Count one call of an API client. Problem 429 when minute or hour are used up."""
        items = (
            RateLimitItemPerMinute(settings.calls_per_minute),
            RateLimitItemPerHour(settings.calls_per_hour),
        )
        with self._lock:
            waits = [self._wait(item, "call", client_id) for item in items]
            if not any(waits):
                for item in items:
                    self._windows.hit(item, "call", client_id)
                self._sweep()
                return
        raise _too_many(f"the limit of {_words(settings)} is used up", max(waits))

    def refuse_guessing(self, settings: Settings, address: str, account: str) -> None:
        """Problem 429 when address or account have had too many wrong secrets of late; counts nothing."""
        with self._lock:
            waits = [self._wait(item, *key) for item, key in _guesses(settings, address, account)]
        if any(waits):
            raise _too_many("too many failed attempts", max(waits))

    def wrong_secret(self, settings: Settings, address: str, account: str) -> None:
        """Count one wrong secret against the address and the account; raises nothing."""
        with self._lock:
            for item, key in _guesses(settings, address, account):
                self._windows.hit(item, *key)
            self._sweep()

    def _wait(self, item: RateLimitItem, *key: str) -> float:
        """Seconds until there is room for one more; 0 when there is."""
        if self._windows.test(item, *key):
            return 0.0
        return max(self._windows.get_window_stats(item, *key).reset_time - time.time(), 1.0)

    def _sweep(self) -> None:
        """Throw empty windows away; the storage keeps their names for ever otherwise."""
        events = self._storage.events
        if len(events) <= self._swept_above:
            return
        for key in list(events):
            with self._storage.locks[key]:
                if not events.get(key):
                    events.pop(key, None)
                    self._storage.locks.pop(key, None)
        # Full of live windows: looked at again when it has doubled, so that a flood is not walked per call.
        self._swept_above = max(SWEPT_ABOVE, 2 * len(events))


def _guesses(settings: Settings, address: str, account: str) -> list[tuple[RateLimitItem, tuple[str, str]]]:
    per_minute = settings.logins_per_minute
    guesses: list[tuple[RateLimitItem, tuple[str, str]]] = [
        (RateLimitItemPerMinute(per_minute), ("address", _network(address))),
    ]
    if account:
        guesses.append((RateLimitItemPerMinute(per_minute * ACCOUNT_FACTOR), ("account", account.casefold())))
    return guesses


def _network(address: str) -> str:
    """The /64 of an IPv6 address: its holder has all of them."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


def _words(settings: Settings) -> str:
    return f"{settings.calls_per_minute} calls a minute and {settings.calls_per_hour} an hour"


def _too_many(sentence: str, wait_s: float) -> Problem:
    seconds = math.ceil(wait_s)
    return Problem(
        "TooManyRequests",
        f"{sentence}; try again in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )
