"""What the gate refuses is remembered with its name: queries, answers to them, connections."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP

from isolator.core.decide import GateLimits
from isolator.model.flow import Destination, Hook, Transport
from isolator.model.verdict import Reason
from isolator.ports import QueuedPacket
from isolator.service.dns_learner import DnsLearner
from tests.corpus.dns.sound import CLIENT, RESOLVER, answer, incoming, query, queued
from tests.lab.reach import client_hello
from tests.unit.isolator.service.test_dns_learner import ANSWERED, ASKED, POLICY, X, back, make, out

ASKED_AT = Destination(RESOLVER, Transport.UDP, 53)
ASKED_OVER_TCP = Destination(RESOLVER, Transport.TCP, 53)


def told(learner: DnsLearner) -> list[tuple[Reason, str | None, Destination, str | None]]:
    latest, _ = learner.refusals()
    return [(each.reason, each.name, each.destination, each.entry) for each in latest]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (query("WWW.Evil.test"), (Reason.DNS_NAME_NOT_ALLOWED, "www.evil.test", ASKED_AT, None)),
        (query("."), (Reason.DNS_NAME_NOT_ALLOWED, ".", ASKED_AT, None)),
        (query(r"a\000b.test"), (Reason.DNS_NAME_NOT_ALLOWED, r"a\000b.test", ASKED_AT, None)),
        (query("www.listed.test", "TXT"), (Reason.DNS_TYPE_NOT_ALLOWED, "www.listed.test", ASKED_AT, "l#1")),
        (query("new.wild.test"), (Reason.DNS_TOO_MANY_NAMES, "new.wild.test", ASKED_AT, "l#2")),
        (b"\xff" * 40, (Reason.DNS_UNREADABLE, None, ASKED_AT, None)),
    ],
)
def test_queries(asked: bytes, expected: tuple[Reason, str | None, Destination, str | None]) -> None:
    learner, _ = make(limits=GateLimits(new_names=0))
    out(learner, asked)
    assert told(learner) == [expected]


def test_what_passes_or_is_answered_empty_is_not_there() -> None:
    learner, _ = make()
    out(learner, ASKED)
    back(learner, ANSWERED)
    out(learner, query("www.listed.test", "HTTPS"))
    assert told(learner) == []


def test_an_answer_that_cannot_be_used_names_what_was_asked_for() -> None:
    learner, _ = make()
    out(learner, ASKED)
    back(learner, answer(ASKED, "www.listed.test. 300 A 127.0.0.1"))
    assert told(learner) == [(Reason.DNS_REBINDING, "www.listed.test", ASKED_AT, "l#1")]


def test_forged_answers_put_nothing_there() -> None:
    """Whoever is on the network could push out everything else."""
    learner, _ = make()
    for port in range(1_000, 1_100):
        learner.handle(queued(incoming(ANSWERED, port=port), Hook.INPUT))
        learner.handle(queued(incoming(b"\xff" * 40, resolver=f"20.0.0.{port % 200}"), Hook.INPUT))
    assert told(learner) == []


class Client:
    """One TCP connection of the device's."""

    def __init__(self, learner: DnsLearner, to: Destination) -> None:
        self.learner, self.to = learner, to
        self.number = 0

    def sends(self, flags: str, data: bytes = b"") -> None:
        self.number += 1
        start = IP(src=str(CLIENT), dst=str(self.to.address))
        ends = TCP(sport=40_000, dport=self.to.port, flags=flags, seq=7 + (flags != "S"), ack=77)
        self.learner.handle_segment(QueuedPacket(bytes(start / ends / data), Hook.OUTPUT), self.number)

    def says(self, data: bytes) -> None:
        self.sends("S")
        self.sends("A")
        self.sends("PA", data)


def test_connections() -> None:
    learner, _ = make()
    out(learner, ASKED)
    back(learner, ANSWERED)
    door = Destination(X, Transport.TCP, 443)
    Client(learner, door).says(client_hello("www.evil.test"))
    assert told(learner) == [(Reason.TLS_NAME_NOT_ALLOWED, "www.evil.test", door, None)]
    shut = Destination(X, Transport.TCP, 8443)
    Client(learner, shut).sends("S")
    assert told(learner)[0] == (Reason.NOT_LISTED, None, shut, None)
    asked = query("www.evil.test")
    Client(learner, ASKED_OVER_TCP).says(len(asked).to_bytes(2, "big") + asked)
    assert told(learner)[0] == (Reason.DNS_NAME_NOT_ALLOWED, "www.evil.test", ASKED_OVER_TCP, None)
    Client(learner, door).says(client_hello("www.listed.test"))
    assert len(told(learner)) == 3


def test_they_outlive_another_policy_and_end_with_the_isolation() -> None:
    learner, _ = make()
    out(learner, query("www.evil.test"))
    learner.replace_policy(POLICY, (CLIENT,))
    assert len(told(learner)) == 1
    learner.forget()
    assert told(learner) == []
    assert learner.refusals() == ((), 0)
