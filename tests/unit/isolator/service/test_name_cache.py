"""Names asked for in advance."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from isolator.service.name_cache import FRESH_S, REFRESH_S, SILENT_S, NameCache
from tests.fakes.clock import FakeClock
from tests.fakes.resolver import FakeResolver

ADDRESS = ip_address("20.1.1.1")
SERVERS = [ip_address("192.0.2.53")]


class Counting(FakeResolver):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__({"a.test": [(ADDRESS, 60)]})
        self.calls: list[tuple[str, ...]] = []

    def resolve(self, names, resolvers, deadline_s):  # type: ignore[no-untyped-def]
        self.calls.append(tuple(names))
        return super().resolve(names, resolvers, deadline_s)


@pytest.fixture
def cache() -> NameCache:
    return NameCache(Counting(), FakeClock())


def calls(cache: NameCache) -> list[tuple[str, ...]]:
    return cache.resolver.calls  # type: ignore[attr-defined, no-any-return]


def test_an_order_asks_only_for_what_is_missing(cache: NameCache) -> None:
    assert cache.get(["a.test"], SERVERS) == {"a.test": ((ADDRESS, 60),)}
    cache.get(["a.test"], SERVERS)
    assert calls(cache) == [("a.test",)]


def test_old_answers_are_asked_for_again(cache: NameCache) -> None:
    cache.get(["a.test"], SERVERS)
    cache.clock.advance(FRESH_S + 1)  # type: ignore[attr-defined]
    cache.get(["a.test"], SERVERS)
    assert len(calls(cache)) == 2


def test_a_silent_name_is_left_alone_for_a_while(cache: NameCache) -> None:
    assert cache.get(["silent.test"], SERVERS) == {}
    cache.get(["silent.test"], SERVERS)
    assert len(calls(cache)) == 1
    cache.clock.advance(SILENT_S + 1)  # type: ignore[attr-defined]
    cache.get(["silent.test"], SERVERS)
    assert len(calls(cache)) == 2


def test_a_name_that_fell_silent_keeps_its_answer(cache: NameCache) -> None:
    cache.refresh(["a.test"], SERVERS, 1.0)
    cache.resolver.zone = {}  # type: ignore[attr-defined]
    cache.refresh(["a.test"], SERVERS, 1.0)
    assert "a.test" in cache.get(["a.test"], SERVERS)


def test_a_refresh_is_due_at_first_and_then_every_few_minutes(cache: NameCache) -> None:
    assert cache.due()
    cache.refresh(["a.test"], SERVERS, 1.0)
    assert not cache.due()
    cache.clock.advance(REFRESH_S)  # type: ignore[attr-defined]
    assert cache.due()


def test_without_resolvers_nobody_is_asked(cache: NameCache) -> None:
    assert cache.get(["a.test"], []) == {}
    assert calls(cache) == []
