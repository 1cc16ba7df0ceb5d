"""Our own look-ups against servers that lie, fail or stay silent."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest

from isolator.adapters.resolver import DnsNameResolver
from tests.contract.dns_server import Answer, honest, serving
from tests.contract.own_network import own_network

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]

FIRST, SECOND = "127.0.0.1", "127.0.0.2"
BOTH = (ip_address(FIRST), ip_address(SECOND))
A, AAAA = ip_address("192.0.2.1"), ip_address("2001:db8::1")
TRUE = {(A, 300), (AAAA, 300)}


@pytest.fixture(autouse=True)
def _network() -> Iterator[None]:
    with own_network():
        yield


def spoil(change: str) -> Answer:
    """A server that sends a forged answer ahead of every true one."""

    def answer(query: dns.message.Message) -> list[dns.message.Message | bytes]:
        true = honest(query)[0]
        assert isinstance(true, dns.message.Message)
        forged = dns.message.from_wire(true.to_wire())
        text = forged.to_text().replace("192.0.2.1", "6.6.6.6").replace("2001:db8::1", "6::6")
        forged = dns.message.from_text(text)
        if change == "id":
            forged.id ^= 1
        elif change == "question":
            forged.question[0].name = dns.name.from_text("b.example.")
        elif change == "case":
            forged.question[0].name = dns.name.from_text(query.question[0].name.to_text().swapcase())
        elif change == "query":
            forged.flags &= ~dns.flags.QR
        elif change == "garbage":
            return [b"\xff" * 30, b"", true]
        return [forged, true]

    return answer


@pytest.mark.parametrize("change", ["id", "question", "case", "query", "garbage"])
def test_a_forged_answer_is_passed_over(change: str) -> None:
    with serving(FIRST, 53, spoil(change)):
        found = DnsNameResolver().resolve(["a.example"], BOTH[:1], 10)
    assert set(found["a.example"]) == TRUE


def failing(code: dns.rcode.Rcode) -> Answer:
    def answer(query: dns.message.Message) -> list[dns.message.Message | bytes]:
        response = dns.message.make_response(query)
        response.set_rcode(code)
        return [response]

    return answer


@pytest.mark.parametrize("code", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_failing_resolver_sends_us_to_the_next(code: dns.rcode.Rcode) -> None:
    with serving(FIRST, 53, failing(code)), serving(SECOND, 53):
        found = DnsNameResolver().resolve(["a.example"], BOTH, 10)
    assert set(found["a.example"]) == TRUE


def test_nobody_at_the_first_address() -> None:
    with serving(SECOND, 53):
        found = DnsNameResolver().resolve(["a.example"], BOTH, 10)
    assert set(found["a.example"]) == TRUE


def test_a_silent_resolver_sends_us_to_the_next() -> None:
    with serving(FIRST, 53, lambda _query: []), serving(SECOND, 53):
        found = DnsNameResolver().resolve(["a.example"], BOTH, 10)
    assert set(found["a.example"]) == TRUE


def test_a_lost_packet_is_asked_again() -> None:
    lost: list[dns.message.Message] = []

    def lose_first(query: dns.message.Message) -> list[dns.message.Message | bytes]:
        if len(lost) < 2:
            lost.append(query)
            return []
        return honest(query)

    with serving(FIRST, 53, lose_first):
        found = DnsNameResolver().resolve(["a.example"], BOTH[:1], 10)
    assert set(found["a.example"]) == TRUE


def test_a_server_that_loses_the_letter_case_is_understood_at_the_second_attempt() -> None:
    def lower(query: dns.message.Message) -> list[dns.message.Message | bytes]:
        answer = honest(query)[0]
        assert isinstance(answer, dns.message.Message)
        name = dns.name.from_text(query.question[0].name.to_text().lower())
        for section in (answer.question, answer.answer):
            for each in section:
                each.name = name
        return [answer]

    with serving(FIRST, 53, lower):
        found = DnsNameResolver().resolve(["a.example"], BOTH[:1], 10)
    assert set(found["a.example"]) == TRUE


def test_silence_ends_with_the_deadline_and_answers_so_far_are_given() -> None:
    def some(query: dns.message.Message) -> list[dns.message.Message | bytes]:
        return honest(query) if query.question[0].name.to_text().lower().startswith("a.") else []

    with serving(FIRST, 53, some):
        found = DnsNameResolver().resolve(["b.example", "a.example"], BOTH[:1], 0.5)
    assert set(found) == {"a.example"}


def test_many_names_at_once_and_what_is_no_name() -> None:
    names = [f"n{number}.wild.example" for number in range(200)]
    with serving(FIRST, 53) as seen:
        found = DnsNameResolver().resolve([*names, "x" * 64 + ".example", "", "a..b"], BOTH[:1], 20)
    assert set(names) <= set(found)
    assert all(len(found[name]) == 2 for name in names)
    assert not {"x" * 64 + ".example", "a..b"} & set(found)
    assert len({query.id for query in seen}) > 300
    assert any(query.question[0].name.to_text() not in (f"{name}." for name in names) for query in seen)


def test_no_route_to_the_resolver() -> None:
    assert (
        DnsNameResolver().resolve(["a.example"], (ip_address("203.0.113.1"), ip_address("2001:db8::1")), 10)
        == {}
    )
