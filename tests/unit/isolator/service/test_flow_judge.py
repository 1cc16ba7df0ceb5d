"""Queued segments in, answers for the queue out: approvals, what is older, resets, what is given up."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from allowlists.index import Index
from allowlists.model import Entry, Match
from isolator.core.decide import DnsGate, GateLimits, Ruling, gate_policy
from isolator.core.dns_over_tcp import UNFINISHED_S
from isolator.core.flow_table import FlowLimits
from isolator.model.flow import Destination, Hook, Transport
from isolator.model.order import IsolationScope
from isolator.model.policy import AllowedNetwork, Policy
from isolator.model.segment import FlowKey, FlowRuling
from isolator.model.verdict import Reason
from isolator.ports import FlowAnswer, QueuedPacket
from isolator.service import flow_judge
from isolator.service.flow_judge import SPARE_S, FlowJudge
from isolator.service.policy_builder import CONTROL_LIST, EXCLUSION_LIST
from isolator.wire.parse_error import Unreadable
from tests.corpus.dns.sound import CLIENT, CLIENT6, RESOLVER, answer, query
from tests.lab.reach import client_hello

SHARED, CONTROL, SHELL = ip_address("20.1.2.3"), ip_address("20.1.2.9"), ip_address("20.1.2.22")
SHARED6 = ip_address("2603:1098::3")
POLICY = Policy(
    IsolationScope.SELECTIVE,
    (
        Entry(1, "www.listed.test", "www.listed.test", list_id="l"),
        Entry(2, "*.wild.test", "*.wild.test", Match.SUBDOMAINS, list_id="l"),
        Entry(3, "other.test", "other.test", list_id="l"),
        Entry(1, "control.test", "control.test", list_id=CONTROL_LIST),
        Entry(1, "shell.test", "shell.test", list_id=EXCLUSION_LIST, port=22),
    ),
    networks=(AllowedNetwork(ip_network("20.5.0.0/16"), Transport.TCP, 443, "l#9"),),
    resolvers=(RESOLVER,),
)
HELLO, WRONG = client_hello("www.listed.test"), client_hello("www.evil.test")
T0 = 1_000.0
RST, RST_ACK, ACK = "R", "RA", "A"


class World:
    """A judge with its names learned; numbers the packets it is given."""

    def __init__(self, limits: FlowLimits | None = None, gate: GateLimits | None = None) -> None:
        self.dns = DnsGate(gate_policy(POLICY, Index(POLICY.entries), (CLIENT, CLIENT6)), gate)
        self.learnt: list[Ruling] = []
        self.noted: list[tuple[Reason, str | None, str | None, int]] = []
        self.judge = FlowJudge(self.dns, self._learn, self._note, limits)
        self.judge.replace_policy(POLICY)
        for name, address in (
            ("www.listed.test", SHARED),
            ("www.listed.test", SHARED6),
            ("control.test", CONTROL),
            ("shell.test", SHELL),
        ):
            assert self.dns.preload(name, [(address, 600)], T0)
        self.now = T0
        self.number = 0

    def _learn(self, ruling: Ruling) -> None:
        self.learnt.append(ruling)
        self.dns.confirm(ruling)

    def _note(self, ruling: FlowRuling, flow: FlowKey) -> None:
        self.noted.append((ruling.reason, ruling.entry, ruling.said, flow.server_port))

    def take(self, packet: object, hook: Hook = Hook.OUTPUT) -> FlowAnswer:
        self.number += 1
        return self.judge.judge(QueuedPacket(bytes(packet), hook), self.number, self.now)  # type: ignore[call-overload]


class Client:
    """One connection of the device's, as scapy writes it."""

    def __init__(self, world: World, server: object = SHARED, port: int = 443, own: int = 40_000) -> None:
        self.world, self.server, self.port, self.own = world, str(server), port, own
        self.first = 7_000

    @property
    def key(self) -> FlowKey:
        mine = CLIENT if ":" not in self.server else CLIENT6
        return FlowKey(mine, self.own, ip_address(self.server), self.port)

    def packet(self, flags: str, data: bytes = b"", offset: int = 0, **tcp: object) -> object:
        version = IPv6 if ":" in self.server else IP
        mine = version(src=str(self.key.client), dst=self.server)
        sequence = self.first + (0 if flags == "S" else 1 + offset)
        acknowledged = 0 if flags == "S" else 77
        return (
            mine
            / TCP(sport=self.own, dport=self.port, flags=flags, seq=sequence, ack=acknowledged, **tcp)
            / data
        )

    def opens(self) -> FlowAnswer:
        answered = self.world.take(self.packet("S"))
        self.world.take(self.packet("A"))
        return answered

    def says(self, data: bytes, offset: int = 0) -> FlowAnswer:
        return self.world.take(self.packet("PA", data, offset))


@pytest.fixture
def world() -> World:
    return World()


def fields(packet: bytes) -> tuple[str, int, int, str, int]:
    """Destination, its port, sequence number, flags, acknowledgement of a segment that is sound."""
    read = (IP if packet[0] >> 4 == 4 else IPv6)(packet)
    assert bytes(type(read)(bytes(read.copy()))) == packet
    tcp = read[TCP]
    sum_there = tcp.chksum
    del read[TCP].chksum
    assert type(read)(bytes(read))[TCP].chksum == sum_there
    return read.dst, tcp.dport, tcp.seq, str(tcp.flags), tcp.ack


@pytest.mark.parametrize("server", [SHARED, SHARED6], ids=["v4", "v6"])
class TestVerdict:
    def test_a_listed_name_marks_the_connection_and_is_remembered(self, world: World, server: object) -> None:
        client = Client(world, server)
        assert client.opens() == FlowAnswer(passed=(1,))
        assert client.says(HELLO[:100]) == FlowAnswer()
        assert world.judge.waiting == 1
        assert client.says(HELLO[100:], 100) == FlowAnswer(passed=(3, 4), whole=True)
        assert world.judge.waiting == 0
        # What was queued before the kernel knew, and what it has no room for.
        assert client.says(b"data", len(HELLO)) == FlowAnswer(passed=(5,), whole=True)
        assert world.judge.counters()[Reason.TLS_NAME_ALLOWED] == 1

    def test_another_name_ends_it_at_both_sides(self, world: World, server: object) -> None:
        client = Client(world, server)
        client.opens()
        assert client.says(WRONG[:100]) == FlowAnswer()
        ended = client.says(WRONG[100:], 100)
        assert (ended.passed, ended.whole, ended.dropped) == ((), False, (4,))
        # The first held packet becomes the client's reset, at the byte the server waits for.
        ((token, to_server),) = ended.replaced
        assert (token, fields(to_server)) == (3, (client.server, 443, client.first + 1, RST, 0))
        (to_client,) = ended.local_replies
        own = str(client.key.client)
        assert fields(to_client) == (own, 40_000, 77, RST_ACK, client.first + 1 + len(WRONG))
        assert world.judge.waiting == 0
        assert world.noted == [(Reason.TLS_NAME_NOT_ALLOWED, None, "www.evil.test", 443)]

    def test_a_refused_opening_is_told_to_the_client_only(self, world: World, server: object) -> None:
        other = "20.1.2.99" if server is SHARED else "2603:1098::99"
        client = Client(world, other)
        refused = world.take(client.packet("S"))
        assert (refused.passed, refused.dropped, refused.replaced) == ((), (1,), ())
        (to_client,) = refused.local_replies
        assert fields(to_client) == (str(client.key.client), 40_000, 0, RST_ACK, client.first + 1)

    def test_a_new_connection_between_the_same_ends_is_judged_anew(
        self, world: World, server: object
    ) -> None:
        client = Client(world, server)
        client.opens()
        assert client.says(HELLO).whole
        client.first = 900_000
        client.opens()
        assert client.says(WRONG).local_replies

    def test_one_whose_beginning_nobody_saw_is_ended(self, world: World, server: object) -> None:
        client = Client(world, server)
        ended = client.says(HELLO)
        assert ended.passed == ()
        assert ended.dropped == ()
        ((token, to_server),) = ended.replaced
        assert (token, fields(to_server)[2:4]) == (1, (client.first + 1, RST))
        assert len(ended.local_replies) == 1


class TestOpenings:
    def test_a_listed_network_passes_at_once(self, world: World) -> None:
        client = Client(world, "20.5.1.1")
        assert world.take(client.packet("S")) == FlowAnswer(passed=(1,), whole=True)
        assert client.says(b"anything").whole

    def test_an_exclusion_by_name_passes_unread(self, world: World) -> None:
        client = Client(world, SHELL, 22)
        assert world.take(client.packet("S")) == FlowAnswer(passed=(1,), whole=True)

    def test_an_offer_of_multipath_is_taken_out(self, world: World) -> None:
        client = Client(world)
        offer = client.packet("S", options=[("MSS", 1460), (30, bytes(10))])
        opened = world.take(offer)
        assert opened.passed == ()
        ((token, plain),) = opened.replaced
        assert token == 1
        assert 30 not in [kind for kind, _ in IP(plain)[TCP].options]
        refused = world.take(Client(world, "20.1.2.99").packet("S", options=[(30, bytes(10))]))
        assert refused.replaced == ()
        assert refused.dropped == (2,)

    def test_data_with_both_flags_is_malformed(self, world: World) -> None:
        assert world.take(Client(world).packet("SA")).dropped == (1,)
        assert world.judge.counters() == {Reason.TCP_MALFORMED: 1}


class TestUnreadable:
    def test_counted_by_kind_and_dropped(self, world: World) -> None:
        assert world.take(b"\x45") == FlowAnswer(dropped=(1,))
        assert world.take(Client(world).packet("S", chksum=1)) == FlowAnswer(dropped=(2,))
        assert world.judge.unreadable[Unreadable.TCP_CHECKSUM] == 1
        assert sum(world.judge.unreadable.values()) == 2
        assert world.judge.counters() == {Reason.TCP_MALFORMED: 2}

    def test_forwarded_segments_are_not_for_the_gate(self, world: World) -> None:
        client = Client(world)
        client.opens()
        assert world.take(client.packet("PA", HELLO), Hook.FORWARD) == FlowAnswer(dropped=(3,))
        assert world.judge.counters()[Reason.FORWARDED] == 1

    def test_one_whose_judgement_failed_is_forgotten(self, world: World) -> None:
        client = Client(world)
        client.opens()
        client.says(HELLO[:100])
        world.judge.lose(3)
        world.judge.lose(99)
        assert world.judge.waiting == 0
        ended = client.says(WRONG[100:], 100)
        assert ([token for token, _ in ended.replaced], ended.dropped) == ([4], (3,))


class TestOlder:
    """Connections that were there before the gate."""

    def test_the_control_channel_may_turn_up_before_anybody_told(self, world: World) -> None:
        world.judge.forget_connections()
        assert Client(world, CONTROL).says(b"old data").whole
        assert Client(world, SHELL, 22).says(b"old data").whole
        assert not Client(world, SHARED).says(b"old data").whole

    def test_not_for_long(self, world: World) -> None:
        world.judge.forget_connections()
        Client(world, CONTROL).says(b"begins the time")
        world.now += SPARE_S - 0.001
        assert Client(world, CONTROL, own=2).says(b"old data").whole
        world.now += 0.001
        assert not Client(world, CONTROL, own=3).says(b"old data").whole

    def test_nor_once_it_was_told_which_there_are(self, world: World) -> None:
        world.judge.forget_connections()
        known = Client(world, SHARED, own=1)
        world.judge.spare([known.key])
        assert known.says(b"old data").whole
        assert not Client(world, CONTROL, own=2).says(b"old data").whole

    def test_nor_one_that_was_opened_since(self, world: World) -> None:
        world.judge.forget_connections()
        client = Client(world, CONTROL)
        client.opens()
        assert client.says(WRONG).local_replies

    def test_nor_after_a_restart(self, world: World) -> None:
        """Unread data of a connection that an agent before had let open is none of it."""
        assert not Client(world, CONTROL).says(b"opened under another agent").whole

    def test_after_a_restart_unknown_ones_wait_until_it_is_told(self, world: World) -> None:
        client, stranger = Client(world, SHELL, 22), Client(world, SHARED)
        world.judge.await_older()
        assert client.says(b"data") == FlowAnswer(dropped=(1,))
        assert stranger.says(b"data") == FlowAnswer(dropped=(2,))
        opened = Client(world, SHARED, own=5)
        opened.opens()
        assert opened.says(HELLO).whole
        world.judge.spare([client.key])
        assert client.says(b"data").whole
        assert stranger.says(b"data").local_replies

    def test_one_that_began_again_before_it_was_told_is_judged(self, world: World) -> None:
        """The kernel's list of approved connections is older than the SYN that took its ends."""
        world.judge.await_older()
        again = Client(world, SHARED)
        again.opens()
        world.judge.spare([again.key])
        assert again.says(WRONG).local_replies

    def test_only_so_many_are_remembered(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow_judge, "MAX_APPROVED", 2)
        one, two, three = (Client(world, own=number) for number in (1, 2, 3))
        world.judge.spare([one.key, two.key])
        assert one.says(b"data").whole  # used last, so the other goes
        world.judge.spare([three.key])
        assert one.says(b"data").whole
        assert not two.says(b"data").whole


class TestInheritedDoors:
    """An address that an agent before had learned is known by its entries alone."""

    DOOR = Destination(ip_address("20.1.2.50"), Transport.TCP, 443)

    def client(self, world: World) -> Client:
        world.dns.names.inherit({self.DOOR: {"l#2": T0 + 100}})
        made = Client(world, self.DOOR.address)
        made.opens()
        return made

    def test_a_name_of_its_entry_passes(self, world: World) -> None:
        assert self.client(world).says(client_hello("a.wild.test")).whole

    @pytest.mark.parametrize("hello", [WRONG, HELLO, client_hello("other.test")])
    def test_no_other_listed_or_not(self, world: World, hello: bytes) -> None:
        assert self.client(world).says(hello).local_replies

    def test_what_is_said_at_an_exclusion_is_its_own_business_but_at_its_addresses_only(
        self, world: World
    ) -> None:
        shell = Entry(2, "*.tool.test", "*.tool.test", Match.SUBDOMAINS, list_id=EXCLUSION_LIST)
        world.judge.replace_policy(replace(POLICY, entries=(*POLICY.entries, shell)))
        assert self.client(world).says(WRONG).local_replies
        world.dns.names.inherit({self.DOOR: {shell.id: T0 + 100}})
        assert world.take(Client(world, self.DOOR.address, own=9).packet("S")).whole

    def test_a_name_that_is_learned_since_is_one_more(self, world: World) -> None:
        world.dns.preload("other.test", [(self.DOOR.address, 600)], T0)
        assert self.client(world).says(HELLO).local_replies
        world.number = 100
        for own, name in ((9, "other.test"), (10, "a.wild.test")):
            again = Client(world, self.DOOR.address, own=own)
            again.opens()
            assert again.says(client_hello(name)).whole

    def test_until_it_expires(self, world: World) -> None:
        self.client(world)
        world.now = T0 + 100.001
        assert world.take(Client(world, self.DOOR.address, own=9).packet("S")).local_replies


class TestGivenUp:
    def test_what_takes_too_long(self, world: World) -> None:
        client = Client(world)
        client.opens()
        client.says(HELLO[:100])
        told = world.judge.expire(T0 + 9)
        assert (len(told.local_replies), replace(told, local_replies=())) == (1, FlowAnswer())
        assert fields(told.local_replies[0])[3] == ACK
        ended = world.judge.expire(T0 + 10)
        ((token, to_server),) = ended.replaced
        assert (token, fields(to_server)[3]) == (3, RST)
        assert len(ended.local_replies) == 1
        assert world.judge.waiting == 0

    def test_one_of_which_nothing_is_held_is_told_to_the_client_alone(self, world: World) -> None:
        Client(world).opens()
        ended = world.judge.expire(T0 + 31)
        assert (ended.dropped, ended.replaced) == ((), ())
        assert len(ended.local_replies) == 1

    def test_one_whose_numbers_are_not_known_is_asked_for_them(self, world: World) -> None:
        """Its first acknowledgement passed in the kernel."""
        client = Client(world)
        world.take(client.packet("S"))
        told, asked = (fields(each) for each in world.judge.expire(T0 + 31).local_replies)
        ends = str(CLIENT), client.own
        assert told == (*ends, 0, RST_ACK, client.first + 1)
        assert asked == (*ends, 0, ACK, client.first + 1)
        ended = world.take(client.packet("A"))
        assert [fields(each)[2:4] for each in ended.local_replies] == [(77, RST_ACK)]
        assert [fields(each)[2:4] for _, each in ended.replaced] == [(client.first + 1, RST)]

    def test_the_longest_there_goes_when_there_are_too_many(self) -> None:
        world = World(FlowLimits(opening=1))
        one, two = Client(world, own=1), Client(world, own=2)
        one.opens()
        opened = world.take(two.packet("S"))
        assert (opened.passed, opened.dropped, opened.replaced) == ((3,), (), ())
        (told,) = opened.local_replies
        assert fields(told)[1] == 1
        assert world.judge.counters()[Reason.FLOW_TABLE_FULL] == 1
        world.take(two.packet("A"))
        assert two.says(HELLO).whole

    def test_what_waited_for_another_isolation_never_passes(self, world: World) -> None:
        """The rules were away: its server may have heard something else in between."""
        client = Client(world)
        client.opens()
        client.says(HELLO[:100])
        before = world.judge.counters()
        world.judge.forget_connections()
        world.judge.spare(())
        assert world.judge.counters() == before
        assert client.says(HELLO[100:], 100).local_replies
        assert world.judge.expire(T0) == FlowAnswer(dropped=(3,))
        assert world.judge.expire(T0 + 60) == FlowAnswer()

    def test_approvals_end_when_the_rules_were_away_and_names_count_as_before(self, world: World) -> None:
        """The same two ends may be another connection by now."""
        client = Client(world)
        client.opens()
        assert client.says(HELLO).whole
        world.judge.forget_connections()
        world.judge.spare(())
        assert client.says(b"data").local_replies
        client.opens()
        assert client.says(HELLO).whole


class TestDnsOverTcp:
    ASKED = query("www.listed.test")

    def server(self, client: Client, flags: str, data: bytes = b"", offset: int = 0) -> object:
        sequence = 500 + (0 if "S" in flags else 1 + offset)
        ends = IP(src=str(RESOLVER), dst=str(CLIENT))
        tcp = TCP(sport=53, dport=client.own, flags=flags, seq=sequence, ack=client.first + 1)
        return ends / tcp / data

    def asked(self, world: World, message: bytes) -> tuple[Client, FlowAnswer]:
        client = Client(world, RESOLVER, 53)
        assert world.take(client.packet("S")) == FlowAnswer(passed=(1,))
        assert world.take(self.server(client, "SA"), Hook.INPUT) == FlowAnswer(passed=(2,))
        return client, client.says(len(message).to_bytes(2, "big") + message)

    def test_learned_before_the_last_segment_is_delivered(self, world: World) -> None:
        client, passed = self.asked(world, self.ASKED)
        assert passed == FlowAnswer(passed=(3,))
        reply = answer(self.ASKED, "www.listed.test. 300 A 20.1.2.77")
        stream = len(reply).to_bytes(2, "big") + reply
        assert world.take(self.server(client, "A", stream[:20]), Hook.INPUT) == FlowAnswer(passed=(4,))
        assert world.learnt == []
        passed = world.take(self.server(client, "PA", stream[20:], 20), Hook.INPUT)
        assert passed == FlowAnswer(passed=(5,))
        (ruling,) = world.learnt
        assert [str(each.destination.address) for each in ruling.learned] == ["20.1.2.77"]
        assert world.judge.counters()[Reason.DNS_ANSWER_LEARNED] == 2

    def test_an_answer_that_is_refused_ends_the_clients_side_in_its_place(self, world: World) -> None:
        client, _ = self.asked(world, self.ASKED)
        reply = answer(self.ASKED, "www.listed.test. 300 A 127.0.0.1")
        stream = len(reply).to_bytes(2, "big") + reply
        ended = world.take(self.server(client, "PA", stream), Hook.INPUT)
        assert (ended.passed, ended.dropped, ended.local_replies) == ((), (), ())
        ((token, to_client),) = ended.replaced
        assert (token, fields(to_client)[:2]) == (4, (str(CLIENT), client.own))
        assert world.learnt == []

    def test_of_one_that_never_becomes_whole_the_client_is_told(self, world: World) -> None:
        client, _ = self.asked(world, self.ASKED)
        world.take(self.server(client, "A", b"\xff"), Hook.INPUT)
        ended = world.judge.expire(T0 + UNFINISHED_S)
        assert (ended.passed, ended.dropped, ended.replaced) == ((), (), ())
        (to_client,) = ended.local_replies
        assert fields(to_client)[:3] == (str(CLIENT), client.own, 502)
        assert world.judge.counters()[Reason.FLOW_TIMED_OUT] == 1

    def test_names_beyond_the_rate_are_noted(self) -> None:
        world = World(gate=GateLimits(new_names=0))
        _, ended = self.asked(world, query("data.wild.test"))
        assert ended.local_replies
        assert world.noted == [(Reason.DNS_TOO_MANY_NAMES, "l#2", "data.wild.test", 53)]
