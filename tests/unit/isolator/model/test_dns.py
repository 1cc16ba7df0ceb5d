"""Which addresses an answer gives: the chain, the sections, the lifetimes."""

from __future__ import annotations

from ipaddress import ip_address
from itertools import pairwise

import pytest

from isolator.model.dns import MAX_CHAIN, DnsMessage, Question, Record, addresses_in

QUESTION = Question("www.test", 1, 1, b"")
X, Y = ip_address("20.0.0.1"), ip_address("20.0.0.2")


def a(owner: str, address: object = X, ttl: int = 60, rclass: int = 1) -> Record:
    return Record(owner, 1, rclass, ttl, address.packed)  # type: ignore[attr-defined]


def cname(owner: str, target: str, ttl: int = 60, rclass: int = 1) -> Record:
    return Record(owner, 5, rclass, ttl, b"", target)


def given(*records: Record, question: Question = QUESTION, flags: int = 0x8180) -> tuple[object, ...]:
    return addresses_in(DnsMessage(1, flags, (question,), records))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ((), ()),
        ((a("www.test"),), ((X, 60),)),
        ((a("www.test"), a("www.test", Y)), ((X, 60), (Y, 60))),
        ((a("other.test"),), ()),
        ((a("www.test"), a("other.test", Y)), ((X, 60),)),
        ((cname("www.test", "b"), a("b")), ((X, 60),)),
        ((a("b"), cname("www.test", "b")), ((X, 60),)),
        ((a("c"), cname("b", "c"), cname("www.test", "b")), ((X, 60),)),
        ((cname("b", "c"), a("c")), ()),
        ((cname("www.test", "b"), cname("www.test", "evil"), a("evil", Y), a("b")), ((X, 60),)),
        ((cname("www.test", "www.test"), a("www.test")), ((X, 60),)),
        ((cname("www.test", "b"), cname("b", "www.test"), a("b")), ((X, 60),)),
        ((cname("www.test", "b", rclass=3), a("b")), ()),
        ((a("www.test", rclass=3),), ()),
        ((cname("www.test", "b"),), ()),
    ],
    ids=[
        "nothing",
        "one",
        "two",
        "another owner",
        "another owner beside",
        "cname",
        "cname last",
        "chain backwards",
        "chain that does not begin at the question",
        "second cname of one owner",
        "cname to itself",
        "loop",
        "cname of class CH",
        "address of class CH",
        "no address",
    ],
)
def test_chain(records: tuple[Record, ...], expected: tuple[object, ...]) -> None:
    assert given(*records) == expected


@pytest.mark.parametrize(
    ("records", "ttl"),
    [
        ((cname("www.test", "b", 5), a("b", X, 60)), 5),
        ((cname("www.test", "b", 60), a("b", X, 5)), 5),
        ((cname("www.test", "b", 60), cname("b", "c", 7), a("c", X, 60)), 7),
        ((cname("www.test", "b", 7), cname("b", "c", 60), a("c", X, 60)), 7),
        ((cname("www.test", "b", 5), cname("b", "www.test", 5), a("www.test", X, 60)), 60),
        ((a("www.test", X, 60), a("www.test", X, 3)), 3),
        ((a("www.test", X, 0),), 0),
    ],
)
def test_the_smallest_ttl_on_the_way(records: tuple[Record, ...], ttl: int) -> None:
    assert given(*records) == ((X, ttl),)


@pytest.mark.parametrize(("steps", "found"), [(MAX_CHAIN, True), (MAX_CHAIN + 1, False)])
def test_the_chain_is_bounded(steps: int, found: bool) -> None:
    names = ["www.test", *(f"n{step}" for step in range(steps))]
    links = [cname(one, next_) for one, next_ in pairwise(names)]
    assert bool(given(*links, a(names[-1]))) is found


def test_only_the_asked_type() -> None:
    six = Record("www.test", 28, 1, 60, ip_address("2001:db8::1").packed)
    assert given(six, a("www.test")) == ((X, 60),)
    assert given(six, a("www.test"), question=Question("www.test", 28, 1, b"")) == (
        (ip_address("2001:db8::1"), 60),
    )
    assert given(a("www.test"), question=Question("www.test", 5, 1, b"")) == ()


def test_no_addresses_without_a_sound_answer() -> None:
    assert given(a("www.test"), flags=0x8183) == ()
    assert given(a("www.test"), question=Question("www.test", 1, 3, b"")) == ()
    assert addresses_in(DnsMessage(1, 0x8180, (QUESTION, QUESTION), (a("www.test"),))) == ()
    assert addresses_in(DnsMessage(1, 0x8180, (), (a("www.test"),))) == ()


@pytest.mark.parametrize(
    ("spelled", "mixed"), [(b"\x03www", False), (b"\x03WWW", False), (b"\x03wWw", True), (b"\x03123", False)]
)
def test_mixed_case(spelled: bytes, mixed: bool) -> None:
    assert Question("", 1, 1, spelled + b"\0\0\x41\0\x01").mixed_case is mixed


def test_header_bits() -> None:
    message = DnsMessage(1, 0xAA03, (QUESTION,))
    assert (message.is_response, message.is_truncated, message.opcode, message.rcode) == (True, True, 5, 3)
