"""Queued packets in, answers for the kernel out; learned before delivered, an answer whatever happens."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, cast

import dns.message
import dns.rcode
import pytest
from scapy.layers.inet import IP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt

from allowlists.model import Entry, Match
from isolator.core.compiler import LEARNED
from isolator.core.decide import GateLimits
from isolator.core.purpose_seal import PurposeSeal
from isolator.model.datagram import Datagram
from isolator.model.event import Alert
from isolator.model.flow import Destination, Hook, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import Policy
from isolator.model.ruleset import AddressSet, Element
from isolator.model.verdict import Reason, Verdict
from isolator.ports import Clock, FilterBackend, QueueAnswer, QueuedPacket
from isolator.service.dns_learner import DnsLearner
from isolator.wire.ip_packet import parse_ip, parse_udp
from isolator.wire.parse_error import Unreadable
from tests.corpus.dns.sound import (
    CLIENT,
    CLIENT6,
    PORT,
    RESOLVER,
    RESOLVER6,
    answer,
    incoming,
    outgoing,
    query,
    queued,
)

POLICY = Policy(
    IsolationScope.FULL,
    (
        Entry(1, "www.listed.test", "www.listed.test", list_id="l"),
        Entry(2, "*.wild.test", "*.wild.test", Match.SUBDOMAINS, list_id="l"),
    ),
    resolvers=(RESOLVER, RESOLVER6),
)
X = ip_address("20.1.2.3")
DOOR = Destination(X, Transport.TCP, 443)
SSH, GONE = (Destination(ip_address(f"20.9.9.{n}"), Transport.TCP, 22) for n in (1, 2))
SEAL = PurposeSeal(
    b"key",
    "boot",
    (*POLICY.entries, Entry(9, "old.test", "old.test", port=22, extra_ports=(443,), list_id="l")),
)
ASKED = query("www.listed.test")
ANSWERED = answer(ASKED, "www.listed.test. 300 A 20.1.2.3")


class Kernel:
    """The one method of the backend that the gate calls, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.held: list[Element] = []
        self.fails = False

    def learn(self, additions: Sequence[tuple[AddressSet, Element]]) -> None:
        if self.fails:
            raise OSError("the kernel said no")
        self.held += [element for spec, element in additions if spec.name in LEARNED.values()]

    def boottime(self) -> float:
        return self.now

    def utc_now(self) -> str:
        return f"2026-01-02T03:04:{int(self.now) % 60:02}Z"


def make(policy: Policy = POLICY, limits: GateLimits | None = None) -> tuple[DnsLearner, Kernel]:
    kernel = Kernel()
    learner = DnsLearner(cast(FilterBackend, kernel), cast(Clock, kernel), limits)
    learner.replace_policy(policy, (CLIENT, CLIENT6))
    return learner, kernel


def out(learner: DnsLearner, payload: bytes) -> QueueAnswer:
    return learner.handle(queued(outgoing(payload), Hook.OUTPUT))


def back(learner: DnsLearner, payload: bytes) -> QueueAnswer:
    return learner.handle(queued(incoming(payload), Hook.INPUT))


def reply_of(given: QueueAnswer) -> tuple[Datagram, dns.message.Message]:
    assert given.local_reply is not None
    datagram = parse_udp(parse_ip(given.local_reply, verify=True), verify=True)
    return datagram, dns.message.from_wire(datagram.payload)


PASSED = QueueAnswer(Verdict.ACCEPT)
DROPPED = QueueAnswer(Verdict.DROP)


class TestLookUp:
    def test_learned_before_delivered(self) -> None:
        learner, kernel = make()
        assert out(learner, ASKED) == PASSED
        assert kernel.held == []
        assert back(learner, ANSWERED) == PASSED
        assert kernel.held == [Element(Destination(X, Transport.TCP, 443), 305)]
        assert [each.name for each in learner.learned(kernel.now)] == ["www.listed.test"]
        assert learner.learned_at(X, kernel.now) == learner.learned(kernel.now)
        assert learner.learned(kernel.now + 306) == ()
        assert learner.counters() == {Reason.DNS_NAME_ALLOWED: 1, Reason.DNS_ANSWER_LEARNED: 1}

    def test_the_kernel_is_spared_what_it_has(self) -> None:
        learner, kernel = make()
        for _ in range(100):
            out(learner, ASKED)
            assert back(learner, ANSWERED) == PASSED
        assert len(kernel.held) == 1

    def test_a_kernel_that_refuses_means_no_answer(self, caplog: pytest.LogCaptureFixture) -> None:
        learner, kernel = make()
        kernel.fails = True
        out(learner, ASKED)
        with caplog.at_level(logging.ERROR):
            assert back(learner, ANSWERED) == DROPPED
        assert "the kernel said no" in caplog.text
        assert learner.learned(kernel.now) == ()
        kernel.fails = False
        out(learner, ASKED)
        assert back(learner, ANSWERED) == PASSED
        assert len(kernel.held) == 1
        assert learner.counters()[Reason.GATE_ERROR] == 1

    def test_a_lasting_fault_is_logged_ever_more_rarely(self, caplog: pytest.LogCaptureFixture) -> None:
        learner, kernel = make()
        kernel.fails = True
        with caplog.at_level(logging.ERROR):
            for _ in range(1_000):
                out(learner, ASKED)
                back(learner, ANSWERED)
        assert len(caplog.records) == 10
        assert learner.counters()[Reason.GATE_ERROR] == 1_000

    def test_ipv6(self) -> None:
        learner, kernel = make()
        asked = query("a.b.wild.test", "AAAA")
        given = answer(asked, "a.b.wild.test. 10 AAAA 2603:1000::1")
        there = outgoing(asked, source=str(CLIENT6), resolver=str(RESOLVER6))
        again = incoming(given, client=str(CLIENT6), resolver=str(RESOLVER6))
        assert learner.handle(queued(there, Hook.OUTPUT)) == PASSED
        assert learner.handle(queued(again, Hook.INPUT)) == PASSED
        assert kernel.held == [Element(Destination(ip_address("2603:1000::1"), Transport.TCP, 443), 60)]


class TestReply:
    @pytest.mark.parametrize("edns", [False, True], ids=["plain", "edns"])
    @pytest.mark.parametrize(
        ("source", "resolver"), [(CLIENT, RESOLVER), (CLIENT6, RESOLVER6)], ids=["ipv4", "ipv6"]
    )
    def test_refused_in_the_resolvers_name(self, source: object, resolver: object, edns: bool) -> None:
        learner, _ = make()
        asked = query("Evil.test", id_=99, edns=edns)
        given = learner.handle(
            queued(outgoing(asked, source=str(source), resolver=str(resolver)), Hook.OUTPUT)
        )
        assert given.verdict is Verdict.DROP
        datagram, message = reply_of(given)
        assert (datagram.source, datagram.source_port) == (resolver, 53)
        assert (datagram.destination, datagram.destination_port) == (source, PORT)
        assert dns.message.from_wire(asked).is_response(message)
        assert message.rcode() == dns.rcode.REFUSED
        assert message.question[0].name.to_text() == "Evil.test."

    def test_service_bindings_are_answered_empty(self) -> None:
        learner, _ = make()
        _, message = reply_of(out(learner, query("www.listed.test", "HTTPS")))
        assert (message.rcode(), message.answer) == (dns.rcode.NOERROR, [])

    def test_format_error(self) -> None:
        learner, _ = make()
        for data in (ASKED[:20], ASKED + b"data"):
            _, message = reply_of(out(learner, data))
            assert (message.id, message.rcode()) == (7, dns.rcode.FORMERR)

    def test_a_large_query_is_answered_without_being_read(self) -> None:
        learner, _ = make()
        large = ASKED[:4] + b"\xff\xff" + bytes(6) + b"\xff" * 60_000
        _, message = reply_of(out(learner, large))
        assert (message.id, message.rcode()) == (7, dns.rcode.FORMERR)
        assert learner.unreadable() == {}
        out(learner, ASKED + b"\xff" * 200)
        out(learner, b"\xff" * 512)
        assert sum(learner.unreadable().values()) == 1

    @pytest.mark.parametrize(
        "data", [b"", b"\0" * 11, b"\xff" * 30, ANSWERED], ids=["empty", "short", "bad", "answer"]
    )
    def test_nobody_to_be_told(self, data: bytes) -> None:
        learner, _ = make()
        assert out(learner, data) == DROPPED

    def test_an_answer_kept_back_is_refused_to_the_asker(self) -> None:
        learner, kernel = make()
        out(learner, ASKED)
        given = back(learner, answer(ASKED, "www.listed.test. 300 A 127.0.0.1"))
        datagram, message = reply_of(given)
        assert given.verdict is Verdict.DROP
        assert (datagram.source, datagram.destination) == (RESOLVER, CLIENT)
        assert (datagram.source_port, datagram.destination_port) == (53, PORT)
        assert (message.rcode(), message.answer) == (dns.rcode.REFUSED, [])
        assert kernel.held == []


class TestBadPackets:
    QUERY = IP(src=str(CLIENT), dst=str(RESOLVER)) / UDP(sport=PORT, dport=53) / ASKED

    @pytest.mark.parametrize(
        ("packet", "hook", "kind"),
        [
            (b"", Hook.OUTPUT, Unreadable.IP_TRUNCATED),
            (bytes(QUERY)[:-1], Hook.OUTPUT, Unreadable.IP_LENGTH),
            (bytes(QUERY) + b"data", Hook.OUTPUT, Unreadable.IP_LENGTH),
            (bytes(IP(flags="MF") / UDP()), Hook.OUTPUT, Unreadable.IP_FRAGMENT),
            (bytes(IP(options=[IPOption_NOP()]) / UDP()), Hook.OUTPUT, Unreadable.IP_OPTIONS),
            (bytes(IPv6() / IPv6ExtHdrDestOpt() / UDP()), Hook.OUTPUT, Unreadable.IP_OPTIONS),
            (bytes(IP() / UDP(len=8) / b"data"), Hook.OUTPUT, Unreadable.UDP_LENGTH),
            (bytes(IP(proto=6) / b"data"), Hook.OUTPUT, Unreadable.NOT_UDP),
            (bytes(IP() / UDP(chksum=1) / b"data"), Hook.INPUT, Unreadable.UDP_CHECKSUM),
            (bytes(IP(chksum=1) / UDP()), Hook.INPUT, Unreadable.IP_CHECKSUM),
        ],
    )
    def test_dropped_and_counted(self, packet: bytes, hook: Hook, kind: Unreadable) -> None:
        learner, _ = make()
        assert learner.handle(QueuedPacket(packet, hook)) == DROPPED
        assert learner.unreadable() == {kind: 1}
        assert learner.counters() == {Reason.DNS_UNREADABLE: 1}

    def test_an_answer_to_a_waiting_socket_that_is_no_message(self) -> None:
        learner, _ = make()
        out(learner, ASKED)
        assert back(learner, ANSWERED[:20]) == DROPPED
        assert learner.unreadable() == {Unreadable.DNS_TRUNCATED: 1}
        assert back(learner, ANSWERED) == PASSED

    @pytest.mark.parametrize(
        ("where", "reason"),
        [
            ({"port": PORT + 1}, Reason.DNS_UNASKED_ANSWER),
            ({"source_port": 54}, Reason.RESOLVER_NOT_APPROVED),
            ({"resolver": "9.9.9.9"}, Reason.RESOLVER_NOT_APPROVED),
        ],
    )
    def test_the_bytes_of_strangers_are_not_read(self, where: dict[str, Any], reason: Reason) -> None:
        learner, _ = make()
        out(learner, ASKED)
        assert learner.handle(queued(incoming(b"\xff", **where), Hook.INPUT)) == DROPPED
        assert learner.unreadable() == {}
        assert learner.counters()[reason] == 1

    def test_a_checksum_the_card_would_compute_is_not_checked_on_the_way_out(self) -> None:
        learner, _ = make()
        packet = IP(src=str(CLIENT), dst=str(RESOLVER)) / UDP(sport=PORT, dport=53, chksum=1) / ASKED
        assert learner.handle(QueuedPacket(bytes(packet), Hook.OUTPUT)) == PASSED

    def test_forwarded_packets_are_not_for_the_gate(self) -> None:
        learner, _ = make()
        assert learner.handle(queued(outgoing(ASKED), Hook.FORWARD)) == DROPPED
        assert learner.counters() == {Reason.FORWARDED: 1}

    def test_an_answer_met_on_its_way_out_is_none(self) -> None:
        learner, kernel = make()
        out(learner, ASKED)
        assert learner.handle(queued(incoming(ANSWERED), Hook.OUTPUT)) == DROPPED
        assert kernel.held == []


class TestAlerts:
    """Data in the labels of an allowed wildcard is held under a rate, and somebody is told."""

    def test_raised_by_what_goes_beyond_the_rate(self, caplog: pytest.LogCaptureFixture) -> None:
        learner, kernel = make(limits=GateLimits(new_bytes=40))
        assert out(learner, query("short.wild.test")) == PASSED
        assert learner.alerts() == ()
        for number in range(100):
            kernel.now += 0.1
            assert reply_of(out(learner, query(f"{number:032}.wild.test")))[1].rcode() == dns.rcode.REFUSED
        assert learner.alerts() == (
            Alert(
                Reason.DNS_LABEL_PAYLOAD, "l#2", "*.wild.test", 100,
                "2026-01-02T03:04:40Z", "2026-01-02T03:04:50Z",
            ),
        )  # fmt: skip
        lines = [each for each in caplog.records if each.levelno == logging.WARNING]
        assert len(lines) == 7, "1, 2, 4, ... 64"
        assert "dns_label_payload: 64 queries refused under *.wild.test (l#2)" in lines[-1].getMessage()

    def test_too_many_names_are_another_alert(self) -> None:
        learner, _ = make(limits=GateLimits(new_names=2))
        for number in range(4):
            out(learner, query(f"{number}.wild.test"))
        assert [(each.reason, each.count) for each in learner.alerts()] == [(Reason.DNS_TOO_MANY_NAMES, 2)]

    def test_other_refusals_are_none(self) -> None:
        learner, _ = make()
        out(learner, query("www.evil.test"))
        out(learner, query("www.listed.test", "TXT"))
        assert learner.alerts() == ()

    def test_they_outlive_another_policy_and_end_with_the_isolation(self) -> None:
        learner, _ = make(limits=GateLimits(new_names=0))
        out(learner, query("a.wild.test"))
        learner.replace_policy(POLICY, (CLIENT, CLIENT6))
        assert len(learner.alerts()) == 1
        learner.forget()
        assert learner.alerts() == ()


class TestPolicy:
    def test_before_there_is_one_everything_is_dropped(self) -> None:
        kernel = Kernel()
        learner = DnsLearner(cast(FilterBackend, kernel), cast(Clock, kernel))
        assert out(learner, ASKED).verdict is Verdict.DROP
        assert learner.counters() == {Reason.RESOLVER_NOT_APPROVED: 1}

    def test_replaced(self) -> None:
        learner, kernel = make()
        out(learner, ASKED)
        back(learner, ANSWERED)
        closed = learner.replace_policy(
            Policy(IsolationScope.FULL, POLICY.entries[1:], resolvers=(RESOLVER,)), ()
        )
        assert [str(each.destination) for each in closed] == ["tcp://20.1.2.3:443"]
        assert out(learner, ASKED).verdict is Verdict.DROP
        assert learner.learned(kernel.now) == ()

    def test_preload(self) -> None:
        learner, kernel = make()
        learned = learner.preload(
            {"www.listed.test": [(X, 300)], "evil.test": [(X, 300)], "a.wild.test": [(CLIENT, 300)]},
            kernel.now,
        )
        assert [(each.name, str(each.destination)) for each in learned] == [
            ("www.listed.test", "tcp://20.1.2.3:443")
        ]
        assert learner.learned(kernel.now) == learned
        assert kernel.held == [], "the caller puts them into the kernel"

    def test_forgotten_addresses_are_learned_again(self) -> None:
        learner, kernel = make()
        out(learner, ASKED)
        back(learner, ANSWERED)
        learner.forget()
        assert learner.learned(kernel.now) == ()
        out(learner, ASKED)
        back(learner, ANSWERED)
        assert len(kernel.held) == 2

    def test_the_kernel_is_told_for_which_entries(self) -> None:
        """Of an earlier answer and of an agent before too."""
        learner, kernel = make()
        learner.replace_policy(POLICY, (CLIENT, CLIENT6), SEAL)
        learner.inherit({DOOR: {"l#9": kernel.now + 50}})
        for name in ("a.wild.test", "www.listed.test"):
            asked = query(name)
            out(learner, asked)
            back(learner, answer(asked, f"{name}. 300 A 20.1.2.3"))
        first, second = kernel.held
        assert SEAL.read(DOOR, first.comment) == {"l#2": kernel.now + 305, "l#9": kernel.now + 50}
        assert SEAL.read(DOOR, second.comment) == {
            "l#1": kernel.now + 305,
            "l#2": kernel.now + 305,
            "l#9": kernel.now + 50,
        }

    def test_an_answer_does_not_shorten_what_an_agent_before_had_opened(self) -> None:
        learner, kernel = make()
        learner.inherit({DOOR: {"l#2": kernel.now + 5_000}})
        out(learner, ASKED)
        back(learner, ANSWERED)
        assert kernel.held == [Element(DOOR, 5_000)]

    def test_restated(self) -> None:
        learner, kernel = make()
        many = {f"n{n}.wild.test": [(X + n, 300)] for n in range(250)}
        learner.preload({**many, "www.listed.test": [(X, 60)]}, kernel.now)
        learner.replace_policy(POLICY, (CLIENT, CLIENT6), SEAL)
        learner.inherit({SSH: {"l#9": kernel.now + 50}, GONE: {"l#9": kernel.now - 1}})
        learner.restate()
        held = {each.key: SEAL.read(cast(Destination, each.key), each.comment) for each in kernel.held}
        assert len(held) == len(kernel.held) == 251
        assert held[DOOR] == {"l#1": kernel.now + 65, "l#2": kernel.now + 305}
        assert held[SSH] == {"l#9": kernel.now + 50}

    def test_threads_that_read_and_replace_while_packets_are_judged(self) -> None:
        learner, kernel = make()
        narrow = Policy(IsolationScope.FULL, POLICY.entries[1:], resolvers=(RESOLVER,))
        wrong: list[object] = []
        done = threading.Event()

        def disturb() -> None:
            while not done.is_set():
                learner.replace_policy(narrow, ())
                if any(each.name == "www.listed.test" for each in learner.learned(kernel.now)):
                    wrong.append("a name of the former policy was learned")
                learner.replace_policy(POLICY, ())
                learner.counters()
                learner.learned_at(X, kernel.now)

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            for _ in range(2_000):
                out(learner, ASKED)
                back(learner, ANSWERED)
        finally:
            done.set()
            thread.join()
        assert wrong == []
        assert Reason.GATE_ERROR not in learner.counters()
        assert sum(learner.counters().values()) == 4_000
