"""The gate between a hostile host and a hostile network."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from allowlists.model import Entry, Match
from isolator.core.decide import GateLimits
from isolator.core.names import NameLimits
from isolator.core.pending import PendingLimits
from isolator.model.datagram import Datagram
from isolator.model.flow import Hook
from isolator.model.order import IsolationScope
from isolator.model.policy import Policy
from isolator.model.ruleset import AddressSet, Element
from isolator.model.verdict import Reason, Verdict
from isolator.ports import Clock, FilterBackend, QueuedPacket
from isolator.service.dns_learner import DnsLearner
from isolator.wire.dns_message import parse_dns
from isolator.wire.ip_packet import parse_ip, parse_udp, render_udp
from tests.corpus.dns.sound import CLIENT, RESOLVER, answer, incoming, outgoing, query, queued
from tests.property.test_dns_message import mutated

POLICY = Policy(
    IsolationScope.FULL,
    (
        Entry(1, "www.listed.test", "www.listed.test", list_id="l", extra_ports=(80,)),
        Entry(2, "*.wild.test", "*.wild.test", Match.SUBDOMAINS, list_id="l"),
    ),
    resolvers=(RESOLVER,),
)
SMALL = GateLimits(PendingLimits(8, 6, 4), NameLimits(3, 4, 6, 8, 6), 5)


class Outside:
    """Kernel and clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.held: set[str] = set()

    def learn(self, additions: Sequence[tuple[AddressSet, Element]]) -> None:
        self.held |= {str(element.key) for _, element in additions}

    def boottime(self) -> float:
        return self.now

    def utc_now(self) -> str:
        return "2026-01-02T03:04:05Z"


def make() -> tuple[DnsLearner, Outside]:
    outside = Outside()
    learner = DnsLearner(cast(FilterBackend, outside), cast(Clock, outside), SMALL)
    learner.replace_policy(POLICY, (CLIENT,))
    return learner, outside


HOOKS = st.sampled_from(list(Hook))
PORTS = st.sampled_from([53, 40_000, 40_001, 0])
ADDRESSES = st.sampled_from([CLIENT, RESOLVER, ip_address("9.9.9.9")])
MESSAGES = st.one_of(mutated(), st.binary(max_size=80))
PACKETS = st.one_of(
    st.builds(QueuedPacket, st.binary(max_size=100), HOOKS),
    st.builds(
        lambda datagram, hook: QueuedPacket(render_udp(datagram), hook),
        st.builds(Datagram, ADDRESSES, PORTS, ADDRESSES, PORTS, MESSAGES),
        HOOKS,
    ),
)


@given(st.lists(st.tuples(PACKETS, st.floats(0, 100)), max_size=30))
def test_every_packet_gets_an_answer_and_none_is_a_fault(packets: list[tuple[QueuedPacket, float]]) -> None:
    learner, outside = make()
    for packet, later in packets:
        outside.now += later
        given_ = learner.handle(packet)
        assert given_.verdict in (Verdict.ACCEPT, Verdict.DROP)
        if given_.local_reply is not None:
            assert given_.verdict is Verdict.DROP
            assert parse_dns(
                parse_udp(parse_ip(given_.local_reply, verify=True), verify=True).payload
            ).is_response
    counters = learner.counters()
    assert Reason.GATE_ERROR not in counters
    assert sum(counters.values()) == len(packets)
    assert len(learner.learned(outside.now)) <= SMALL.names.wildcards + SMALL.names.listed


@given(st.lists(st.tuples(MESSAGES, PORTS, st.integers(0, 2)), max_size=20))
def test_without_a_query_no_answer_is_believed(messages: list[tuple[bytes, int, int]]) -> None:
    learner, outside = make()
    for data, port, resolver in messages:
        source = "" if resolver else "198.51.100.54"
        learner.handle(queued(incoming(data, port=port, resolver=source), Hook.INPUT))
    assert outside.held == set()
    assert learner.learned(0.0) == ()


@given(st.lists(MESSAGES, min_size=1, max_size=20))
def test_nothing_leaves_but_plain_queries_for_listed_names(messages: list[bytes]) -> None:
    learner, _ = make()
    for data in messages:
        if learner.handle(queued(outgoing(data), Hook.OUTPUT)).verdict is Verdict.ACCEPT:
            message = parse_dns(data)
            (question,) = message.questions
            assert not message.is_response
            assert question.name == "www.listed.test" or question.name.endswith(".wild.test")
            assert question.qtype in (1, 5, 28)
            extra = len(data) - 12 - len(question.raw)
            assert extra == 0 if message.edns is None else 11 <= extra <= 11 + 64
            assert (message.answers, message.authority, message.additional, message.trailing) == ((), 0, 0, 0)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(1, 0xFFFF), st.integers(1, 0xFFFF))
def test_only_the_right_id_and_port(id_: int, guess: int, port: int, port_guess: int) -> None:
    learner, outside = make()
    asked = query("www.listed.test", id_=id_)
    learner.handle(queued(outgoing(asked, port=port), Hook.OUTPUT))
    forged = answer(query("www.listed.test", id_=guess), "www.listed.test. 60 A 20.6.6.6")
    given_ = learner.handle(queued(incoming(forged, port=port_guess), Hook.INPUT))
    assert (given_.verdict is Verdict.ACCEPT) is ((id_, port) == (guess, port_guess))
    assert bool(outside.held) is ((id_, port) == (guess, port_guess))


@given(st.lists(st.booleans(), min_size=13, max_size=13), st.lists(st.booleans(), min_size=13, max_size=13))
def test_only_the_right_case(asked_case: list[bool], guessed_case: list[bool]) -> None:
    learner, outside = make()

    def spelled(case: list[bool]) -> str:
        letters = iter(case)
        return "".join(
            (letter.upper() if next(letters) else letter) if letter != "." else letter
            for letter in "www.listed.test"
        )

    asked = spelled(asked_case)
    learner.handle(queued(outgoing(query(asked)), Hook.OUTPUT))
    guessed = spelled(guessed_case)
    learner.handle(queued(incoming(answer(query(guessed), "www.listed.test. 60 A 20.6.6.6")), Hook.INPUT))
    # A query in one case only carries no nonce, so any spelling is an answer to it.
    assert bool(outside.held) is (guessed == asked or asked in (asked.lower(), asked.upper()))
