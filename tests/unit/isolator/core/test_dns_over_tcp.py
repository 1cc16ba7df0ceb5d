"""DNS over TCP: queries out, answers in, cut in every way."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from isolator.core.decide import DnsGate, gate_policy
from isolator.core.dns_over_tcp import HOLD_S, MAX_HELD, MAX_HELD_TOGETHER, AnswerRuling, DnsOverTcp
from isolator.core.flow_gate import FlowGate
from isolator.model.order import IsolationScope
from isolator.model.policy import Policy
from isolator.model.segment import FlowKey, FlowRuling, Segment
from isolator.model.verdict import Reason, Verdict
from isolator.wire.dns_stream import render_frame
from isolator.wire.first_bytes import Messages
from tests.corpus.dns.sound import CLIENT, PORT, RESOLVER, answer, query
from tests.unit.isolator.core.flow_world import READERS
from tests.unit.isolator.core.gate_fakes import INDEX

NOW = 1_000.0
ASKED = query("www.listed.test")
MANY = tuple(f"www.listed.test. 60 A 20.1.{n}.3" for n in range(40))
ANSWER = answer(ASKED, *MANY)


class World:
    """A client, the gates, and one connection to the resolver."""

    def __init__(self, *, most: int = 256) -> None:
        self.dns = DnsGate(
            gate_policy(Policy(IsolationScope.FULL, (), resolvers=(RESOLVER,)), INDEX, own_addresses=())
        )
        self.tcp = DnsOverTcp(self.dns, lambda: Messages(512), Messages, most)
        self.flows = FlowGate(self.dns.names, READERS, dns=self.tcp)
        self.tokens = 0

    def segment(self, offset: int, payload: bytes, flags: str, port: int, *, server: str = "") -> Segment:
        self.tokens += 1
        where = ip_address(server) if server else RESOLVER
        key = FlowKey(CLIENT, port, where, 53)
        return Segment(key, 0xFFFF_FFF0 + 1 + offset, 9, frozenset(flags.split()), payload, self.tokens)

    def connect(self, port: int = PORT) -> None:
        self.flows.judge(self.segment(-1, b"", "syn", port), NOW)
        self.reply(b"", -1, flags="syn ack", port=port)
        self.flows.judge(self.segment(0, b"", "ack", port), NOW)

    def ask(self, data: bytes, offset: int = 0, port: int = PORT) -> FlowRuling:
        return self.flows.judge(self.segment(offset, data, "ack psh", port), NOW)

    def reply(
        self, data: bytes, offset: int = 0, *, flags: str = "ack", port: int = PORT, server: str = ""
    ) -> AnswerRuling:
        """A segment of the resolver; the kernel takes what it opens."""
        ruling = self.tcp.judge_answer(self.segment(offset, data, flags, port, server=server), NOW)
        for each in ruling.answers:
            self.dns.confirm(each)
        return ruling


def asked() -> World:
    world = World()
    world.connect()
    assert world.ask(render_frame(ASKED)).verdict is Verdict.ACCEPT
    return world


class TestQueries:
    def test_an_allowed_one_goes_and_the_connection_stays_judged(self) -> None:
        world = World()
        world.connect()
        first = world.ask(render_frame(ASKED))
        assert (first.reason, first.entry, first.mark) == (Reason.DNS_NAME_ALLOWED, "l#1", False)
        second = world.ask(render_frame(query("x.evil.test")), len(ASKED) + 2)
        assert (second.reason, len(second.dropped), len(second.resets)) == (Reason.DNS_NAME_NOT_ALLOWED, 1, 1)

    @pytest.mark.parametrize("cut", [1, 2, 3, 20, len(ASKED) + 1])
    def test_cut_anywhere(self, cut: int) -> None:
        world = World()
        world.connect()
        data = render_frame(ASKED)
        assert world.ask(data[:cut]).verdict is Verdict.QUEUE
        assert len(world.ask(data[cut:], cut).passed) == 2

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (render_frame(ASKED) + render_frame(query("x.evil.test")), Reason.DNS_NAME_NOT_ALLOWED),
            (render_frame(ASKED)[:-1] + b"\xff", Reason.DNS_NAME_NOT_ALLOWED),
            (render_frame(ANSWER), Reason.DNS_UNREADABLE),
            (render_frame(answer(ASKED)), Reason.DNS_NOT_A_QUERY),
            (render_frame(query("www.listed.test", "HTTPS")), Reason.DNS_TYPE_WITHHELD),
            (b"\0\3abc", Reason.DNS_UNREADABLE),
            (b"\2\1", Reason.DNS_UNREADABLE),
            (b"GET / HTTP/1.1\r\n", Reason.DNS_UNREADABLE),
        ],
    )
    def test_others_end_the_connection(self, data: bytes, reason: Reason) -> None:
        world = World()
        world.connect()
        ruling = world.ask(data)
        assert (ruling.verdict, ruling.reason) == (Verdict.REJECT, reason)
        assert not ruling.passed

    def test_other_servers_and_ports(self) -> None:
        world = World()
        for server in ("192.0.2.53", "20.1.2.3"):
            syn = world.segment(-1, b"", "syn", PORT, server=server)
            assert world.flows.judge(syn, NOW).reason is Reason.NOT_LISTED


class TestAnswers:
    def test_addresses_are_learned(self) -> None:
        world = asked()
        ruling = world.reply(render_frame(ANSWER))
        assert (ruling.flow.verdict, ruling.flow.reason) == (Verdict.ACCEPT, Reason.DNS_ANSWER_LEARNED)
        assert len(ruling.answers[0].learned) == 80, "forty addresses at two ports"

    def test_over_several_segments_in_any_order(self) -> None:
        world = asked()
        data = render_frame(ANSWER)
        last, middle = world.reply(data[300:], 300), world.reply(data[100:300], 100)
        assert [last.flow.verdict, middle.flow.verdict] == [Verdict.QUEUE] * 2
        assert not world.dns.names.snapshot(NOW)
        again = world.reply(data[100:300], 100)
        assert (again.flow.verdict, again.flow.reason) == (Verdict.DROP, Reason.FIRST_BYTES_HELD)
        first = world.reply(data[:100])
        assert len(first.flow.passed) == 3
        assert len(world.dns.names.snapshot(NOW)) == 80
        assert world.reply(data[:100]).flow.verdict is Verdict.ACCEPT, "what went may go again"

    def test_what_is_ahead_stays_held(self) -> None:
        world = asked()
        world.ask(render_frame(query("www.listed.test", "AAAA", id_=8)), len(ASKED) + 2)
        one = render_frame(ANSWER)
        two = render_frame(
            answer(query("www.listed.test", "AAAA", id_=8), "www.listed.test. 60 AAAA 2603:1::1")
        )
        assert world.reply(two[9:], len(one) + 9).flow.verdict is Verdict.QUEUE
        assert len(world.reply(one).flow.passed) == 1
        assert len(world.reply(two[:9], len(one)).flow.passed) == 2

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (render_frame(answer(query("www.listed.test", id_=8), *MANY)), Reason.DNS_UNASKED_ANSWER),
            (render_frame(answer(ASKED, "www.listed.test. 60 A 10.0.0.1")), Reason.DNS_REBINDING),
            (render_frame(ANSWER) * 2, Reason.DNS_UNASKED_ANSWER),
            (b"\0\0", Reason.DNS_UNREADABLE),
            (render_frame(b"x" * 40), Reason.DNS_UNREADABLE),
        ],
    )
    def test_others_end_the_connection(self, data: bytes, reason: Reason) -> None:
        world = asked()
        world.reply(data[:1])
        ruling = world.reply(data[1:], 1)
        assert (ruling.flow.verdict, ruling.flow.reason, len(ruling.flow.dropped)) == (
            Verdict.REJECT,
            reason,
            2,
        )
        assert (ruling.flow.resets[0].to_server, ruling.flow.resets[0].to_client) == (9, 0xFFFF_FFF1)
        assert len(world.tcp) == 0
        assert not world.dns.names.snapshot(NOW)

    def test_overlaps_and_the_window(self) -> None:
        world = asked()
        world.reply(render_frame(ANSWER)[:9])
        assert world.reply(b"x", 40_000).flow.reason is Reason.TCP_OUTSIDE_WINDOW
        assert world.reply(b"\xfe", 3).flow.reason is Reason.TCP_OVERLAP

    def test_a_truncated_answer_over_tcp_teaches_nothing(self) -> None:
        ruling = asked().reply(render_frame(answer(ASKED, *MANY, tc=True)))
        assert (ruling.flow.reason, ruling.answers[0].learned) == (Reason.DNS_ANSWER_EMPTY, ())


class TestConnections:
    @pytest.mark.parametrize(("flags", "payload"), [("syn", b""), ("syn ack", b"x")])
    def test_odd_beginnings(self, flags: str, payload: bytes) -> None:
        ruling = World().reply(payload, -1, flags=flags)
        assert (ruling.flow.verdict, ruling.flow.reason) == (Verdict.DROP, Reason.TCP_MALFORMED)

    def test_strangers(self) -> None:
        world = World()
        assert world.reply(b"x", server="192.0.2.53").flow.reason is Reason.RESOLVER_NOT_APPROVED
        assert world.reply(b"x").flow.verdict is Verdict.DROP
        assert world.reply(b"x", flags="rst").flow.verdict is Verdict.DROP
        assert world.reply(b"", flags="rst ack").flow.verdict is Verdict.ACCEPT

    def test_bare_segments_and_the_end(self) -> None:
        world = asked()
        assert world.reply(b"", flags="fin ack").flow.reason is Reason.HANDSHAKE
        world.reply(render_frame(ANSWER)[:9])
        ruling = world.reply(b"", 9, flags="rst ack")
        assert (ruling.flow.reason, len(ruling.flow.dropped), len(world.tcp)) == (Reason.FLOW_CLOSED, 1, 0)

    def test_a_repeated_beginning_changes_nothing_and_another_is_none(self) -> None:
        world = asked()
        world.reply(render_frame(ANSWER)[:9])
        assert not world.reply(b"", -1, flags="syn ack").flow.dropped
        other = world.reply(b"", 4, flags="syn ack").flow
        assert (other.verdict, other.reason) == (Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW)
        assert len(world.reply(render_frame(ANSWER)[9:], 9).flow.passed) == 2

    def test_the_client_begins_anew_and_what_was_held_is_given_up(self) -> None:
        world = asked()
        held = world.tokens + 1
        world.reply(render_frame(ANSWER)[:9])
        world.tcp.listen(FlowKey(CLIENT, PORT, RESOLVER, 53))
        ruling = world.tcp.expire(NOW)
        assert ruling is not None
        assert (ruling.dropped, ruling.resets) == ((held,), ())
        assert world.reply(b"", 4, flags="syn ack").flow.verdict is Verdict.ACCEPT

    def test_what_nobody_asked_for_begins_nothing(self) -> None:
        """Whoever is on the network may send it in the resolver's name."""
        world = World()
        assert world.reply(b"", -1, flags="syn ack").flow.reason is Reason.FLOW_UNKNOWN
        assert world.reply(b"\xff\xff", 0).flow.verdict is Verdict.DROP
        assert len(world.tcp) == 0

    def test_the_least_used_one_goes(self) -> None:
        world = World(most=2)
        for port in (1, 2):
            world.connect(port)
        world.ask(render_frame(ASKED), port=1)
        world.reply(render_frame(ANSWER)[:9], port=1)
        world.connect(3)
        assert world.reply(b"x", port=2).flow.reason is Reason.FLOW_UNKNOWN
        assert world.reply(render_frame(ANSWER)[9:], 9, port=1).flow.verdict is Verdict.ACCEPT


class TestHeld:
    """Answers that never become whole must not fill the queue of all connections."""

    def test_one_connection_holds_so_many(self) -> None:
        world = asked()
        held = [world.reply(b"\xff\xff")]
        held += [world.reply(b"\0", 2 + at) for at in range(MAX_HELD - 1)]
        assert {each.flow.verdict for each in held} == {Verdict.QUEUE}
        last = world.reply(b"\0", MAX_HELD + 1).flow
        assert (last.verdict, last.reason) == (Verdict.REJECT, Reason.FLOW_TABLE_FULL)
        assert (len(last.dropped), len(last.resets), len(world.tcp)) == (MAX_HELD + 1, 1, 0)

    def test_all_together_hold_so_many(self) -> None:
        world = World()
        ports = range(1, 2 + MAX_HELD_TOGETHER // MAX_HELD)
        for port in ports:
            world.connect(port)
        for port in ports[:-1]:
            world.reply(b"\xff\xff", port=port)
            for at in range(MAX_HELD - 1):
                world.reply(b"\0", 2 + at, port=port)
        assert world.reply(b"\xff", port=ports[-1]).flow.reason is Reason.FLOW_TABLE_FULL
        world.reply(b"", flags="rst ack", port=ports[0])
        world.connect(ports[-1] + 1)
        assert world.reply(b"\xff", port=ports[-1] + 1).flow.verdict is Verdict.QUEUE

    def test_so_long(self) -> None:
        world = asked()
        world.reply(render_frame(ANSWER)[:9])
        assert world.tcp.expire(NOW + HOLD_S - 1) is None
        ruling = world.tcp.expire(NOW + HOLD_S)
        assert ruling is not None
        assert (ruling.reason, len(ruling.dropped), len(ruling.resets)) == (Reason.FLOW_TIMED_OUT, 1, 1)
        assert (ruling.resets[0].to_server, ruling.resets[0].to_client) == (9, 0xFFFF_FFF1)
        assert world.tcp.expire(NOW + HOLD_S) is None

    def test_a_whole_answer_is_counted_off(self) -> None:
        world = asked()
        data = render_frame(ANSWER)
        for at in range(0, len(data), 16):
            world.reply(data[at : at + 16], at)
        assert world.tcp.expire(NOW + HOLD_S) is None
