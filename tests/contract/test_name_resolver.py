"""NameResolver: the fake, and DNS over UDP against a server of the test."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from isolator.ports import NameResolver
from tests.contract.dns_server import serving
from tests.contract.own_network import own_network
from tests.fakes.resolver import FakeResolver

HERE = (ip_address("127.0.0.1"),)
A, AAAA, B = ip_address("192.0.2.1"), ip_address("2001:db8::1"), ip_address("192.0.2.2")


@pytest.fixture(params=["fake", pytest.param("dns", marks=pytest.mark.netns)])
def resolver(request: pytest.FixtureRequest) -> Iterator[NameResolver]:
    if request.param == "fake":
        a = ((A, 300), (AAAA, 300))
        yield FakeResolver({"a.example": a, "b.example": ((B, 300),), "alias.example": ((A, 7), (AAAA, 7))})
        return
    from isolator.adapters.resolver import DnsNameResolver

    with own_network(), serving("127.0.0.1", 53):
        yield DnsNameResolver()


def test_both_families_with_their_ttl(resolver: NameResolver) -> None:
    found = resolver.resolve(["a.example", "b.example"], HERE, 10)
    assert {name: set(each) for name, each in found.items()} == {
        "a.example": {(A, 300), (AAAA, 300)},
        "b.example": {(B, 300)},
    }


def test_names_are_given_back_as_they_came(resolver: NameResolver) -> None:
    assert set(resolver.resolve(["A.Example"], HERE, 10)) == {"A.Example"}


def test_an_alias_has_the_smallest_ttl_of_the_chain(resolver: NameResolver) -> None:
    assert set(resolver.resolve(["alias.example"], HERE, 10)["alias.example"]) == {(A, 7), (AAAA, 7)}


def test_a_name_that_does_not_exist_has_no_addresses(resolver: NameResolver) -> None:
    assert resolver.resolve(["no.example"], HERE, 10) == {"no.example": ()}


def test_nothing_asked_or_nobody_to_ask(resolver: NameResolver) -> None:
    assert resolver.resolve([], HERE, 10) == {}
    assert resolver.resolve(["a.example"], (), 10) == {}
