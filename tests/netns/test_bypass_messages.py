"""Attack table rows 1, 2 and 4: messages that are no queries, and questions hidden among listed ones.

| row | held by |
|---|---|
| 1 over UDP | `test_promise_p7.test_a_name_that_is_not_listed_never_reaches_the_resolver` |
| 3 other resolvers and ports | `test_promise_p7.test_a_listed_name_is_asked_of_nobody_else` |
| 4 over UDP to the IPv4 resolver | also `test_promise_p7.test_nothing_rides_on_a_query_for_a_listed_name` |
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import dns.message
import dns.rrset
import pytest

from tests.lab import Lab, topology, world, zone
from tests.netns.bypass_scene import ALLOWED, Played, Trick, family_of, played
from tests.netns.told_bytes import Say, say, saying

pytestmark = pytest.mark.netns


def a_response(marker: bytes) -> bytes:
    """An answer about a listed name, with the marker in its record."""
    answer = dns.message.make_response(dns.message.make_query(ALLOWED, "A"))
    answer.answer = [dns.rrset.from_text(ALLOWED + ".", 1, "IN", "TXT", marker.decode())]
    return answer.to_wire()


def sending(there: str, *, tcp: bool = False) -> Callable[[Lab, bytes], None]:
    """The attempt that sends the response to port 53."""

    def play(lab: Lab, marker: bytes) -> None:
        wire = a_response(marker)
        if tcp:
            say(lab, there, 53, [len(wire).to_bytes(2, "big") + wire])
            return
        with lab.device.socket(family_of(there), socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.sendto(wire, (there, 53))

    return play


def responses() -> Iterator[Trick]:
    """Row 4: messages with QR set, on their way out."""
    router, far = topology.ADDRESSES[topology.ROUTER], world.UNLISTED_ADDRESS
    for v in ("v4", "v6"):
        yield Trick(f"to the resolver, {v}", sending(getattr(router, v)), "dns_not_a_query")
        yield Trick(f"to the resolver by TCP, {v}", sending(getattr(router, v), tcp=True), "dns_not_a_query")
        yield Trick(f"to a stranger, {v}", sending(getattr(far, v)), "resolver_not_approved")
        yield Trick(f"to a stranger by TCP, {v}", sending(getattr(far, v), tcp=True), "not_listed")


def framed(*messages: bytes) -> bytes:
    """Messages as a stream carries them (RFC 1035 section 4.2.2)."""
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


def question(marker: bytes) -> bytes:
    """A question whose name holds the marker, below a zone that nobody listed."""
    return zone.ask(f"{marker.decode()}.{world.TUNNEL_ZONE}", zone.A, 4711)


LISTED = zone.ask(ALLOWED, zone.A, 4712)
STREAMS: dict[str, tuple[Say, str]] = {
    "alone": (lambda m: [framed(question(m))], "dns_name_not_allowed"),
    "behind a listed one": (lambda m: [framed(LISTED), framed(question(m))], "dns_name_not_allowed"),
    "behind a listed one, at once": (lambda m: [framed(LISTED, question(m))], "dns_name_not_allowed"),
    "its length apart": (
        lambda m: [framed(question(m))[:1], framed(question(m))[1:]],
        "dns_name_not_allowed",
    ),
    "in the space of a listed one": (lambda m: [framed(LISTED + question(m))], "dns_unreadable"),
    "cut short by its length": (lambda m: [framed(LISTED[:20]) + question(m)], "dns_unreadable"),
    "no DNS at all": (lambda m: [m * 8], "dns_unreadable"),
}


def streams() -> Iterator[Trick]:
    """Rows 1 and 2 over TCP: an unlisted question among listed ones."""
    for v in ("v4", "v6"):
        for name, (what, reason) in STREAMS.items():
            router = getattr(topology.ADDRESSES[topology.ROUTER], v)
            yield Trick(f"a question by TCP, {name}, {v}", saying(router, 53, what), reason)


MESSAGES = (*responses(), *streams())


@pytest.fixture(scope="module")
def made() -> Iterator[Played]:
    with played(MESSAGES) as opened:
        yield opened


@pytest.mark.parametrize("trick", MESSAGES, ids=str)
def test_a_message_does_not_leave(made: Played, trick: Trick) -> None:
    made.judge(trick)
