"""The gate's rules for DNS, one table each."""

from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network

import pytest

from isolator.core.decide import DnsGate, GateLimits, GatePolicy, Ruling, gate_policy
from isolator.core.names import NameLimits
from isolator.core.pending import PendingLimits
from isolator.core.usable import UsableAddresses
from isolator.model.dns import LocalReply
from isolator.model.flow import Address, Destination, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import LearnLimits, Policy
from isolator.model.verdict import Decision, Reason, Verdict
from isolator.wire.dns_message import parse_dns
from tests.corpus.dns import hostile
from tests.corpus.dns.sound import RESOLVER, RESOLVER6, answer, incoming, outgoing, query
from tests.unit.isolator.core.gate_fakes import INDEX, FakeEntry, FakeIndex

NOW = 1_000.0
LISTED = query("www.listed.test")
QUESTION = LISTED[12:]
X = ip_address("20.1.2.3")
OWN = ip_address("198.51.100.7")
POLICY = gate_policy(
    Policy(IsolationScope.FULL, (), resolvers=(RESOLVER, RESOLVER6)), INDEX, own_addresses=(OWN,)
)


def gate(limits: GateLimits | None = None, policy: GatePolicy = POLICY) -> DnsGate:
    return DnsGate(policy, limits)


def ask(on: DnsGate, data: bytes, *, now: float = NOW, **where: object) -> Ruling:
    return on.judge_query(outgoing(data, **where), parse_dns(data), now)  # type: ignore[arg-type]


def give(on: DnsGate, data: bytes, *, now: float = NOW, **where: object) -> Ruling:
    """An answer arrives; the kernel takes what it opens."""
    ruling = on.judge_answer(incoming(data, **where), parse_dns(data), now)  # type: ignore[arg-type]
    on.confirm(ruling)
    return ruling


def dropped(reason: Reason, reply: LocalReply | None = None, entry: str | None = None) -> Ruling:
    return Ruling(Decision(Verdict.DROP, reason, entry), reply)


def looked_up(on: DnsGate, asked: bytes, *records: str, **options: object) -> Ruling:
    """Query and answer."""
    assert ask(on, asked).decision.verdict is Verdict.ACCEPT
    return give(on, answer(asked, *records, **options))  # type: ignore[arg-type]


def opened(ruling: Ruling) -> set[str]:
    return {str(each.destination) for each in ruling.learned}


class TestQuery:
    @pytest.mark.parametrize(
        ("data", "entry"),
        [
            (query("www.listed.test"), "l#1"),
            (query("WwW.LISTED.test"), "l#1"),
            (query("www.listed.test", "AAAA"), "l#1"),
            (query("www.listed.test", "CNAME"), "l#1"),
            (query("two.labels.wild.test"), "l#2"),
            (query("exact.wild.test"), "l#3"),
            (query("www.listed.test", edns=True), "l#1"),
            (query("www.listed.test", options=((10, bytes(40)),)), "l#1"),
            (query("www.listed.test", options=((8, bytes(11)), (10, bytes(8)), (3, b""))), "l#1"),
            (query("www.listed.test", options=((12, bytes(60)),)), "l#1"),
        ],
    )
    def test_leaves(self, data: bytes, entry: str) -> None:
        assert ask(gate(), data) == Ruling(Decision(Verdict.ACCEPT, Reason.DNS_NAME_ALLOWED, entry))

    @pytest.mark.parametrize(
        ("name", "qtype"),
        [
            ("evil.test", "A"),
            ("evil.test", "HTTPS"),
            ("evil.test", "TXT"),
            ("wild.test", "A"),
            ("xwild.test", "A"),
            ("listed.test", "A"),
            ("www.listed.test.evil.test", "A"),
            (".", "A"),
            (r"evil\.wild.test", "A"),
            (r"\032.wild.test", "A"),
        ],
    )
    def test_name_not_allowed(self, name: str, qtype: str) -> None:
        assert ask(gate(), query(name, qtype)) == dropped(Reason.DNS_NAME_NOT_ALLOWED, LocalReply.REFUSED)

    def test_class_not_allowed(self) -> None:
        data = query("www.listed.test")[:-1] + b"\x03"
        assert ask(gate(), data) == dropped(Reason.DNS_NAME_NOT_ALLOWED, LocalReply.REFUSED)

    @pytest.mark.parametrize(
        "qtype", ["TXT", "NULL", "MX", "ANY", "PTR", "SRV", "NS", "SOA", "DNAME", "DNSKEY", "TYPE65280"]
    )
    def test_type_not_allowed(self, qtype: str) -> None:
        expected = dropped(Reason.DNS_TYPE_NOT_ALLOWED, LocalReply.REFUSED, "l#1")
        assert ask(gate(), query("www.listed.test", qtype)) == expected

    @pytest.mark.parametrize("qtype", ["HTTPS", "SVCB"])
    def test_service_bindings_are_answered_empty(self, qtype: str) -> None:
        expected = dropped(Reason.DNS_TYPE_WITHHELD, LocalReply.EMPTY, "l#1")
        assert ask(gate(), query("www.listed.test", qtype)) == expected

    @pytest.mark.parametrize(
        "data",
        [
            hostile.header(questions=0),
            hostile.header(questions=2) + QUESTION * 2,
            hostile.header(answers=1) + QUESTION + hostile.record(hostile.POINTER, 16, b"\x04data"),
            hostile.header(authority=1) + QUESTION + hostile.record(hostile.POINTER, 16, b"\x04data"),
            hostile.header(additional=1) + QUESTION + hostile.record(hostile.POINTER, 16, b"\x04data"),
            LISTED + b"data",
            query("www.listed.test", options=((10, bytes(61)),)),
            query("www.listed.test", options=((10, bytes(8)), (12, bytes(49)))),
            query("www.listed.test", options=((65_001, b"data"),)),
            query("www.listed.test", options=((15, b"\0\1data"),)),
            hostile.header(additional=1) + QUESTION + hostile.record(b"\0", 41, b"", ttl=0x0001_0000),
            hostile.header(additional=1) + QUESTION + hostile.record(b"\0", 41, b"", ttl=0x0100_0000),
            hostile.header(additional=1) + QUESTION + hostile.record(b"\0", 41, b"", ttl=0x0000_0001),
            *(
                hostile.header(flags=bit) + QUESTION
                for bit in (0x0400, 0x0200, 0x0080, 0x0040, 0x0001, 0x0008)
            ),
            *(hostile.header(flags=opcode << 11) + QUESTION for opcode in (1, 2, 4, 5, 15)),
        ],
    )
    def test_what_could_carry_data_stays(self, data: bytes) -> None:
        assert ask(gate(), data) == dropped(Reason.DNS_UNREADABLE, LocalReply.FORMERR)

    def test_flags_of_honest_clients_pass(self) -> None:
        for flags in (0x0000, 0x0100, 0x0120, 0x0110, 0x0130):
            assert ask(gate(), hostile.header(flags=flags) + QUESTION).decision.verdict is Verdict.ACCEPT

    def test_a_message_is_512_bytes_at_most(self) -> None:
        # No plain query reaches that; the bound holds whatever the other checks let through.
        message = parse_dns(LISTED)
        large = type(message)(message.id, message.flags, message.questions, size=513)
        expected = dropped(Reason.DNS_UNREADABLE, LocalReply.FORMERR)
        assert gate().judge_query(outgoing(LISTED), large, NOW) == expected

    def test_an_answer_on_its_way_out(self) -> None:
        data = answer(query("www.listed.test"), "www.listed.test. 60 A 20.1.2.3")
        assert ask(gate(), data) == dropped(Reason.DNS_NOT_A_QUERY)

    def test_another_resolver(self) -> None:
        expected = dropped(Reason.RESOLVER_NOT_APPROVED, LocalReply.REFUSED)
        assert ask(gate(), query("www.listed.test"), resolver="9.9.9.9") == expected

    def test_another_port(self) -> None:
        assert ask(gate(), query("www.listed.test"), to=5353) == dropped(Reason.RESOLVER_NOT_APPROVED)

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({}, dropped(Reason.DNS_UNREADABLE, LocalReply.FORMERR)),
            ({"to": 5353}, dropped(Reason.RESOLVER_NOT_APPROVED)),
            ({"resolver": "9.9.9.9"}, dropped(Reason.RESOLVER_NOT_APPROVED)),
        ],
    )
    def test_unreadable(self, where: dict[str, object], expected: Ruling) -> None:
        assert gate().judge_unreadable_query(outgoing(b"\xff" * 40, **where)) == expected  # type: ignore[arg-type]

    def test_the_empty_policy_lets_nothing_out(self) -> None:
        data = query("www.listed.test")
        assert ask(DnsGate(), data).decision.verdict is Verdict.DROP
        nameless = GatePolicy(resolvers=frozenset({RESOLVER}))
        expected = dropped(Reason.DNS_NAME_NOT_ALLOWED, LocalReply.REFUSED)
        assert ask(DnsGate(nameless), data) == expected

    def test_a_resolver_with_a_zone(self) -> None:
        policy = Policy(IsolationScope.FULL, (), resolvers=(ip_address("fe80::53%eth0"),))
        on = gate(policy=gate_policy(policy, INDEX, ()))
        assert ask(on, query("www.listed.test"), resolver="fe80::53").decision.verdict is Verdict.ACCEPT


class TestBounds:
    def test_a_full_table_refuses_new_queries_only(self) -> None:
        on = gate(GateLimits(pending=PendingLimits(total=2)))
        first = query("www.listed.test", id_=1)
        assert ask(on, first).decision.verdict is Verdict.ACCEPT
        assert ask(on, query("www.listed.test", id_=2)).decision.verdict is Verdict.ACCEPT
        expected = dropped(Reason.DNS_TABLE_FULL, LocalReply.REFUSED, "l#1")
        assert ask(on, query("www.listed.test", id_=3)) == expected
        assert give(on, answer(first, "www.listed.test. 60 A 20.1.2.3")).decision.verdict is Verdict.ACCEPT

    def test_the_table_frees_itself(self) -> None:
        on = gate(GateLimits(pending=PendingLimits(total=1)))
        ask(on, query("www.listed.test", id_=1))
        assert ask(on, query("www.listed.test", id_=2), now=NOW + 9).decision.verdict is Verdict.DROP
        assert ask(on, query("www.listed.test", id_=3), now=NOW + 10.5).decision.verdict is Verdict.ACCEPT

    def test_a_local_flood_of_made_up_names_leaves_the_service_its_look_up(self) -> None:
        on = gate(GateLimits(pending=PendingLimits(total=40, wildcard=30), new_names=1_000))
        for n in range(500):
            ask(on, query(f"n{n}.wild.test", id_=n), port=1_024 + n)
        asked = query("www.listed.test")
        assert opened(looked_up(on, asked, "www.listed.test. 60 A 20.1.2.3"))

    def test_labels_are_no_tunnel(self) -> None:
        on = gate(GateLimits(new_names=3))
        verdicts = [ask(on, query(f"{n}.wild.test", id_=n)) for n in range(5)]
        assert [each.decision.verdict for each in verdicts[:3]] == [Verdict.ACCEPT] * 3
        assert verdicts[3:] == [dropped(Reason.DNS_TOO_MANY_NAMES, LocalReply.REFUSED, "l#2")] * 2
        assert ask(on, query("2.wild.test")).decision.verdict is Verdict.ACCEPT, "a name seen in this minute"
        assert ask(on, query("exact.wild.test")).decision.verdict is Verdict.ACCEPT, "a listed name"
        assert ask(on, query("9.wild.test"), now=NOW + 60).decision.verdict is Verdict.ACCEPT

    def test_long_labels_are_an_alert(self) -> None:
        on = gate(GateLimits(new_bytes=100))
        verdicts = [ask(on, query(f"{n}{'x' * 30}.wild.test", id_=n)).decision.reason for n in range(4)]
        assert verdicts == [Reason.DNS_NAME_ALLOWED] * 2 + [Reason.DNS_LABEL_PAYLOAD] * 2
        assert ask(on, query("www.listed.test")).decision.verdict is Verdict.ACCEPT, "a listed name"

    def test_known_and_pinned_names_are_not_new(self) -> None:
        on = gate(GateLimits(new_names=1))
        looked_up(on, query("known.wild.test"), "known.wild.test. 3600 A 20.1.2.3")
        on.preload("pinned.wild.test", [], NOW)
        later = NOW + 100
        assert ask(on, query("new.wild.test"), now=later).decision.verdict is Verdict.ACCEPT
        assert ask(on, query("newer.wild.test"), now=later).decision.verdict is Verdict.DROP
        assert ask(on, query("known.wild.test"), now=later).decision.verdict is Verdict.ACCEPT
        assert ask(on, query("pinned.wild.test"), now=later).decision.verdict is Verdict.ACCEPT

    def test_the_memory_of_openings_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("isolator.core.decide._MAX_OPENINGS", 3)
        on = gate()
        for n in range(10):
            assert ask(on, query(f"{n}.wild.test", id_=n)).decision.verdict is Verdict.ACCEPT
        assert len(on._openings) <= 3


class TestAnswer:
    def test_learned_before_it_is_delivered(self) -> None:
        on = gate()
        ruling = looked_up(on, query("www.listed.test"), "www.listed.test. 300 A 20.1.2.3")
        assert ruling.decision == Decision(Verdict.ACCEPT, Reason.DNS_ANSWER_LEARNED, "l#1")
        assert opened(ruling) == {"tcp://20.1.2.3:443", "tcp://20.1.2.3:80"}
        assert on.names.snapshot(NOW) == ruling.learned
        assert {(each.name, each.entry, each.expires_at) for each in ruling.learned} == {
            ("www.listed.test", "l#1", NOW + 305)
        }

    def test_ipv6_from_an_ipv6_resolver(self) -> None:
        on = gate()
        asked = query("relay.listed.test", "AAAA")
        assert (
            ask(on, asked, source="2001:db8:1::7", resolver=str(RESOLVER6)).decision.verdict is Verdict.ACCEPT
        )
        data = answer(asked, "relay.listed.test. 300 AAAA 2603:1000::1")
        assert opened(give(on, data, resolver=str(RESOLVER6), client="2001:db8:1::7")) == {
            "udp://[2603:1000::1]:3478"
        }

    def test_a_chain_opens_its_end_for_the_name_that_was_asked(self) -> None:
        ruling = looked_up(
            gate(),
            query("a.wild.test"),
            "cdn.example. 20 A 20.1.2.3",
            "a.wild.test. 300 CNAME edge.example.",
            "edge.example. 300 CNAME cdn.example.",
        )
        assert [(str(each.destination), each.name) for each in ruling.learned] == [
            ("tcp://20.1.2.3:443", "a.wild.test")
        ]
        assert ruling.learned[0].expires_at == NOW + 60

    @pytest.mark.parametrize(
        ("records", "options"),
        [
            ((), {}),
            ((), {"rcode": "NXDOMAIN"}),
            ((), {"rcode": "SERVFAIL"}),
            (("a.wild.test. 60 A 20.1.2.3",), {"rcode": "NXDOMAIN"}),
            (("a.wild.test. 60 CNAME b.example.",), {}),
            (("a.wild.test. 60 A 20.1.2.3",), {"tc": True}),
            (("a.wild.test. 60 AAAA 2603:1000::1",), {}),
            (("evil.test. 60 A 20.6.6.6",), {}),
            ((), {"extra": ("a.wild.test. 60 A 20.6.6.6",)}),
            (("a.wild.test. 60 TXT 20.6.6.6",), {}),
        ],
        ids=[
            "no data",
            "no such name",
            "failure",
            "address with an error code",
            "chain without an end",
            "truncated",
            "other type",
            "other owner",
            "additional section",
            "text",
        ],
    )
    def test_delivered_and_nothing_learned(
        self, records: tuple[str, ...], options: dict[str, object]
    ) -> None:
        on = gate()
        ruling = looked_up(on, query("a.wild.test"), *records, **options)
        assert ruling == Ruling(Decision(Verdict.ACCEPT, Reason.DNS_ANSWER_EMPTY, "l#2"))
        assert len(on.names) == 0

    def test_records_beside_the_chain_are_not_learned(self) -> None:
        ruling = looked_up(
            gate(),
            query("a.wild.test"),
            "a.wild.test. 60 A 20.1.2.3",
            "evil.test. 60 A 20.6.6.6",
            extra=("a.wild.test. 60 A 20.6.6.7", "www.listed.test. 60 A 20.6.6.8"),
        )
        assert opened(ruling) == {"tcp://20.1.2.3:443"}

    @pytest.mark.parametrize(
        "where",
        [
            {"port": 40_001},
            {"client": "198.51.100.8"},
            {"resolver": str(RESOLVER6), "client": "2001:db8:1::7"},
        ],
    )
    def test_to_another_socket_or_from_another_resolver(self, where: dict[str, object]) -> None:
        on, asked = gate(), query("a.wild.test")
        ask(on, asked)
        assert give(on, answer(asked), **where) == dropped(Reason.DNS_UNASKED_ANSWER)
        assert give(on, answer(asked)).decision.verdict is Verdict.ACCEPT, "the real one still counts"

    @pytest.mark.parametrize("where", [{"resolver": "198.51.100.54"}, {"source_port": 54}])
    def test_not_from_a_resolver(self, where: dict[str, object]) -> None:
        on, asked = gate(), query("a.wild.test")
        ask(on, asked)
        assert give(on, answer(asked), **where) == dropped(Reason.RESOLVER_NOT_APPROVED)

    @pytest.mark.parametrize(
        "forged",
        [
            answer(query("a.wIld.test", id_=8), "a.wild.test. 60 A 20.6.6.6"),
            answer(query("b.wIld.test"), "b.wild.test. 60 A 20.6.6.6"),
            answer(query("a.wIld.test", "AAAA"), "a.wild.test. 60 AAAA 2603:1000::6"),
            answer(query("a.wilD.test"), "a.wild.test. 60 A 20.6.6.6"),
            query("a.wIld.test"),
            hostile.header(questions=0, flags=0x8180),
            hostile.header(questions=2, flags=0x8180) + query("a.wIld.test")[12:] * 2,
            hostile.header(flags=0xA800) + query("a.wIld.test")[12:],
        ],
        ids=["id", "name", "type", "case", "query", "no question", "two questions", "opcode"],
    )
    def test_forged(self, forged: bytes) -> None:
        on, asked = gate(), query("a.wIld.test")
        ask(on, asked)
        assert give(on, forged) == dropped(Reason.DNS_UNASKED_ANSWER)
        assert give(on, answer(asked)).decision.verdict is Verdict.ACCEPT, "the real one still counts"

    def test_a_copy_is_unasked_for(self) -> None:
        on, asked = gate(), query("a.wild.test")
        data = answer(asked, "a.wild.test. 60 A 20.1.2.3")
        looked_up(on, asked, "a.wild.test. 60 A 20.1.2.3")
        assert give(on, data) == dropped(Reason.DNS_UNASKED_ANSWER)

    def test_too_late(self) -> None:
        on, asked = gate(), query("a.wild.test")
        ask(on, asked)
        assert give(on, answer(asked), now=NOW + 10.5) == dropped(Reason.DNS_UNASKED_ANSWER)

    def test_addresses_are_capped(self) -> None:
        many = tuple(f"a.wild.test. 60 A 20.1.{n // 256}.{n % 256}" for n in range(2_000))
        assert len(looked_up(gate(), query("a.wild.test"), *many).learned) == 64

    def test_an_answer_that_is_not_confirmed_leaves_no_trace(self) -> None:
        on, asked = gate(), query("a.wild.test")
        data = answer(asked, "a.wild.test. 60 A 20.1.2.3")
        for _ in range(2):
            ask(on, asked)
            assert len(on.judge_answer(incoming(data), parse_dns(data), NOW).learned) == 1
        assert on.names.snapshot(NOW) == ()

    def test_what_the_kernel_has_is_not_learned_again(self) -> None:
        on, asked = gate(), query("a.wild.test")
        assert opened(looked_up(on, asked, "a.wild.test. 60 A 20.1.2.3"))
        again = looked_up(on, asked, "a.wild.test. 59 A 20.1.2.3")
        assert again.decision.reason is Reason.DNS_ANSWER_LEARNED
        assert again.learned == ()

    @pytest.mark.parametrize(
        ("ttl", "lifetime"), [(0, 20.0), (0x7FFF_FFFF, 40.0), (0x8000_0000, 20.0), (30, 35.0)]
    )
    def test_lifetimes_are_clamped(self, ttl: int, lifetime: float) -> None:
        policy = Policy(IsolationScope.FULL, (), resolvers=(RESOLVER,), limits=LearnLimits(20.0, 40.0))
        on, asked = gate(policy=gate_policy(policy, INDEX, ())), query("a.wild.test")
        ask(on, asked)
        rdata = hostile.record(hostile.POINTER, 1, X.packed, ttl=ttl)
        ruling = give(on, hostile.header(answers=1, flags=0x8180)[2:].join([b"\0\7", asked[12:] + rdata]))
        assert [each.expires_at for each in ruling.learned] == [NOW + lifetime]

    def test_expired_names_are_forgotten(self) -> None:
        on = gate()
        looked_up(on, query("a.wild.test"), "a.wild.test. 60 A 20.1.2.3")
        ask(on, query("b.wild.test"), now=NOW + 200)
        assert len(on.names) == 0


class TestRebinding:
    REFUSED = dropped(Reason.DNS_REBINDING, LocalReply.REFUSED, "l#2")

    @pytest.mark.parametrize(
        "address",
        ["127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "255.255.255.255", str(OWN), "168.63.129.16"],
    )
    def test_nothing_usable(self, address: str) -> None:
        on = gate()
        assert looked_up(on, query("a.wild.test"), f"a.wild.test. 60 A {address}") == self.REFUSED
        assert len(on.names) == 0

    @pytest.mark.parametrize("address", ["::1", "::ffff:20.1.2.3", "fe80::1", "fd00::1", "64:ff9b::10.0.0.1"])
    def test_nothing_usable_in_ipv6(self, address: str) -> None:
        asked = query("a.wild.test", "AAAA")
        assert looked_up(gate(), asked, f"a.wild.test. 60 AAAA {address}") == self.REFUSED

    def test_of_a_mixture_the_usable_ones_are_learned(self) -> None:
        ruling = looked_up(
            gate(), query("a.wild.test"), "a.wild.test. 60 A 127.0.0.1", "a.wild.test. 60 A 20.1.2.3"
        )
        assert opened(ruling) == {"tcp://20.1.2.3:443"}

    def test_a_named_range(self) -> None:
        limits = LearnLimits(private_answers=(ip_network("10.0.0.0/8"),))
        policy = Policy(IsolationScope.FULL, (), resolvers=(RESOLVER,), limits=limits)
        on = gate(policy=gate_policy(policy, INDEX, ()))
        assert opened(looked_up(on, query("a.wild.test"), "a.wild.test. 60 A 10.0.0.1")) == {
            "tcp://10.0.0.1:443"
        }


class TestPreload:
    def test_the_same_checks_and_the_same_table(self) -> None:
        on = gate()
        addresses: list[tuple[Address, int]] = [(ip_address("127.0.0.1"), 60), (X, 60)]
        learned = on.preload("a.wild.test", addresses, NOW)
        assert [each.destination for each in learned] == [Destination(X, Transport.TCP, 443)]
        assert on.names.snapshot(NOW) == learned
        assert on.preload("a.wild.test", addresses, NOW) == learned, "a kernel that was made anew needs all"

    def test_names_that_no_entry_covers(self) -> None:
        on = gate()
        assert on.preload("evil.test", [(X, 60)], NOW) == ()
        assert not on.names.is_pinned("evil.test")

    def test_nothing_usable(self) -> None:
        assert gate().preload("a.wild.test", [(OWN, 60)], NOW) == ()

    def test_pinned_names_survive_a_flood(self) -> None:
        limits = NameLimits(per_wildcard=5)
        on = gate(GateLimits(names=limits, new_names=1_000))
        on.preload("service.wild.test", [(X, 3_600)], NOW)
        for n in range(100):
            looked_up(on, query(f"n{n}.wild.test"), f"n{n}.wild.test. 3600 A 20.2.0.{n}")
        assert on.names.at(X, NOW)
        assert len(on.names) == 6


class TestReplacePolicy:
    def test_queries_under_way_are_judged_by_the_new_one(self) -> None:
        on, asked = gate(), query("a.wild.test")
        ask(on, asked)
        on.replace_policy(GatePolicy(FakeIndex(), frozenset({RESOLVER})), NOW)
        ruling = give(on, answer(asked, "a.wild.test. 60 A 20.1.2.3"))
        assert ruling == dropped(Reason.DNS_NAME_NOT_ALLOWED, LocalReply.REFUSED)

    def test_what_was_open_and_is_no_more(self) -> None:
        on = gate()
        looked_up(on, query("a.wild.test"), "a.wild.test. 60 A 20.1.2.3")
        looked_up(on, query("www.listed.test", id_=8), "www.listed.test. 60 A 20.1.2.4")
        only = FakeIndex(FakeEntry("n#1", "www.listed.test", (443,)))
        closed = on.replace_policy(GatePolicy(only, frozenset({RESOLVER})), NOW)
        assert {str(each.destination) for each in closed} == {"tcp://20.1.2.3:443", "tcp://20.1.2.4:80"}
        assert [str(each.destination) for each in on.names.snapshot(NOW)] == ["tcp://20.1.2.4:443"]

    def test_addresses_that_became_our_own(self) -> None:
        on = gate()
        looked_up(on, query("a.wild.test"), "a.wild.test. 60 A 20.1.2.3")
        policy = GatePolicy(INDEX, frozenset({RESOLVER}), usable=UsableAddresses([X], ()))
        assert len(on.replace_policy(policy, NOW)) == 1

    def test_names_that_became_allowed(self) -> None:
        on = gate(policy=GatePolicy(FakeIndex(), frozenset({RESOLVER})))
        assert ask(on, query("a.wild.test")).decision.verdict is Verdict.DROP
        on.replace_policy(POLICY, NOW)
        assert ask(on, query("a.wild.test")).decision.verdict is Verdict.ACCEPT


def test_no_forged_answer_in_a_hundred_thousand_is_believed() -> None:
    """An off-path attacker who knows everything but id and the letters' case, against one waiting query."""
    on, asked = gate(), query("a.wIlD.tEsT", id_=0x1234)
    ask(on, asked)
    forged = bytearray(answer(asked, "a.wild.test. 60 A 20.6.6.6"))
    datagram = incoming(bytes(forged))
    believed = 0
    for n in range(100_000):
        id_ = n & 0xFFFF
        if id_ == 0x1234:
            # The right id with the wrong case.
            forged[13] ^= 0x20
        struct.pack_into("!H", forged, 0, id_)
        ruling = on.judge_answer(datagram, parse_dns(bytes(forged)), NOW)
        believed += ruling.decision.verdict is not Verdict.DROP
        if id_ == 0x1234:
            forged[13] ^= 0x20
    assert believed == 0
    assert len(on.names) == 0
    assert give(on, answer(asked, "a.wild.test. 60 A 20.1.2.3")).learned
