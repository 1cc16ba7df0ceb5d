"""DNS over TCP: queries out, answers in, cut in every way."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from isolator.core.decide import DnsGate, gate_policy
from isolator.core.dns_over_tcp import UNFINISHED_S, AnswerRuling, DnsOverTcp
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
FIRST = 0xFFFF_FFF1
"""The number of both sides' first byte; they wrap early."""
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
        return Segment(
            key, (FIRST + offset) % (1 << 32), FIRST, frozenset(flags.split()), payload, self.tokens
        )

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

    def test_the_end_waits_for_the_judgement_and_nothing_else_does(self) -> None:
        world = asked()
        data = render_frame(ANSWER)
        last, middle = world.reply(data[300:], 300), world.reply(data[100:300], 100)
        assert [last.flow.verdict, middle.flow.verdict] == [Verdict.ACCEPT] * 2, (
            "no program reads past the gap"
        )
        assert not last.answers
        assert not world.dns.names.snapshot(NOW)
        assert world.reply(data[100:300], 100).flow.verdict is Verdict.ACCEPT, "what went may go again"
        first = world.reply(data[:100])
        assert (first.flow.reason, len(first.flow.passed)) == (Reason.DNS_ANSWER_LEARNED, 1)
        assert len(world.dns.names.snapshot(NOW)) == 80
        assert world.reply(data[:100]).flow.verdict is Verdict.ACCEPT

    @pytest.mark.parametrize("cut", [1, 2, 3, 14, 40])
    def test_cut_in_two(self, cut: int) -> None:
        world = asked()
        data = render_frame(ANSWER)
        assert world.reply(data[:cut]).flow.verdict is Verdict.ACCEPT
        assert world.reply(data[cut:], cut).flow.reason is Reason.DNS_ANSWER_LEARNED

    def test_the_longest_answer_in_small_segments(self) -> None:
        world = asked()
        most = (0xFFFF - len(ASKED)) // 16
        data = render_frame(
            answer(ASKED, *(f"www.listed.test. 60 A 20.{n >> 8}.{n & 255}.9" for n in range(most)))
        )
        assert len(data) > 0xFFF0
        rulings = [world.reply(data[at : at + 536], at) for at in range(0, len(data), 536)]
        assert {each.flow.verdict for each in rulings} == {Verdict.ACCEPT}
        assert [len(each.answers) for each in rulings] == [0] * (len(rulings) - 1) + [1]

    def test_several_at_a_time(self) -> None:
        world = asked()
        asked_too = query("www.listed.test", "AAAA", id_=8)
        world.ask(render_frame(asked_too), len(ASKED) + 2)
        data = render_frame(ANSWER) + render_frame(answer(asked_too, "www.listed.test. 60 AAAA 2603:1::1"))
        rulings = [world.reply(data[at : at + 100], at) for at in range(0, len(data), 100)]
        assert {each.flow.verdict for each in rulings} == {Verdict.ACCEPT}
        assert sum(len(each.answers) for each in rulings) == 2

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
        ruling = world.reply(data[1:], 1).flow
        assert (ruling.verdict, ruling.reason, len(ruling.dropped)) == (Verdict.REJECT, reason, 1)
        assert (ruling.resets[0].to_server, ruling.resets[0].to_client) == (FIRST, FIRST + 1)
        assert len(world.tcp) == 0
        assert not world.dns.names.snapshot(NOW)

    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            (answer(query("www.listed.test", id_=8), *MANY), Reason.DNS_UNASKED_ANSWER),
            (answer(query("x.evil.test"), *MANY), Reason.DNS_UNASKED_ANSWER),
            (answer(query("www.listed.test", "AAAA"), *MANY), Reason.DNS_UNASKED_ANSWER),
            (ASKED + bytes(900), Reason.DNS_UNASKED_ANSWER),
            (ANSWER[:4] + b"\0\2" + ANSWER[6:], Reason.DNS_UNASKED_ANSWER),
            (ANSWER[:4] + b"\xff\xff" + ANSWER[6:], Reason.DNS_UNASKED_ANSWER),
            (ANSWER[:12] + b"\xc0\x0c" + ANSWER[14:], Reason.DNS_UNREADABLE),
            (ANSWER[:12] + b"\x3f" * 900, Reason.DNS_UNREADABLE),
        ],
    )
    def test_what_begins_as_something_else_is_found_out_by_its_question(
        self, message: bytes, reason: Reason
    ) -> None:
        world = asked()
        data = b"\xff\xff" + message
        went = 0
        while (ruling := world.reply(data[went : went + 1], went).flow).verdict is Verdict.ACCEPT:
            went += 1
        assert (ruling.verdict, ruling.reason) == (Verdict.REJECT, reason)
        assert went <= 2 + 12 + 255 + 4
        assert ruling.resets[0].to_client == (FIRST + went) % (1 << 32)

    def test_an_end_that_is_refused_is_not_delivered(self) -> None:
        world = asked()
        data = render_frame(answer(ASKED, *(f"www.listed.test. 60 A 10.0.{n}.1" for n in range(90))))
        assert world.reply(data[1000:], 1000).flow.verdict is Verdict.ACCEPT
        ruling = world.reply(data[:1000]).flow
        assert (ruling.reason, ruling.passed, len(ruling.dropped)) == (Reason.DNS_REBINDING, (), 1)
        assert ruling.resets[0].to_client == FIRST

    def test_the_second_of_two_is_not_let_go_with_the_first(self) -> None:
        world = asked()
        data = render_frame(ANSWER) * 2
        assert world.reply(data[: len(ANSWER)]).flow.verdict is Verdict.ACCEPT
        ruling = world.reply(data[len(ANSWER) :], len(ANSWER))
        assert (ruling.flow.reason, ruling.answers) == (Reason.DNS_UNASKED_ANSWER, ())
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
        ruling = world.reply(b"", 9, flags="rst ack").flow
        assert (ruling.reason, ruling.verdict, len(world.tcp)) == (Reason.FLOW_CLOSED, Verdict.ACCEPT, 0)

    def test_a_reset_that_the_client_does_not_take_ends_nothing_here(self) -> None:
        world = asked()
        world.reply(render_frame(ANSWER)[:9])
        assert world.reply(b"", 500, flags="rst").flow.verdict is Verdict.ACCEPT
        assert world.reply(b"x", 9, flags="rst").flow.verdict is Verdict.DROP
        assert world.reply(render_frame(ANSWER)[9:], 9).flow.reason is Reason.DNS_ANSWER_LEARNED

    def test_a_repeated_beginning_changes_nothing_and_another_is_none(self) -> None:
        world = asked()
        world.reply(render_frame(ANSWER)[:9])
        assert world.reply(b"", -1, flags="syn ack").flow.verdict is Verdict.ACCEPT
        other = world.reply(b"", 4, flags="syn ack").flow
        assert (other.verdict, other.reason) == (Verdict.DROP, Reason.TCP_OUTSIDE_WINDOW)
        assert world.reply(render_frame(ANSWER)[9:], 9).flow.reason is Reason.DNS_ANSWER_LEARNED

    def test_who_takes_a_connection_must_know_its_number(self) -> None:
        """A forger who guesses the ports would else decide where the answers begin."""
        world = World()
        world.flows.judge(world.segment(-1, b"", "syn", PORT), NOW)
        forged = replace(world.segment(7_000, b"", "syn ack", PORT), acknowledgement=FIRST + 1)
        assert world.tcp.judge_answer(forged, NOW).flow.reason is Reason.TCP_OUTSIDE_WINDOW
        assert world.reply(b"", -1, flags="syn ack").flow.verdict is Verdict.ACCEPT

    def test_the_client_begins_anew(self) -> None:
        world = asked()
        world.reply(render_frame(ANSWER)[:9])
        world.tcp.listen(FlowKey(CLIENT, PORT, RESOLVER, 53), FIRST)
        assert world.tcp.expire(NOW + UNFINISHED_S) is None
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


class TestUnfinished:
    """Answers that never become whole."""

    def test_so_long(self) -> None:
        world = asked()
        world.reply(render_frame(ANSWER)[:9])
        assert world.tcp.expire(NOW + UNFINISHED_S - 1) is None
        ruling = world.tcp.expire(NOW + UNFINISHED_S)
        assert ruling is not None
        assert (ruling.reason, ruling.dropped, len(ruling.resets)) == (Reason.FLOW_TIMED_OUT, (), 1)
        assert (ruling.resets[0].to_server, ruling.resets[0].to_client) == (FIRST, FIRST + 9)
        assert world.tcp.expire(NOW + UNFINISHED_S) is None
        assert world.reply(render_frame(ANSWER)[9:], 9).flow.reason is Reason.FLOW_UNKNOWN

    def test_a_whole_answer_is_counted_off(self) -> None:
        world = asked()
        data = render_frame(ANSWER)
        for at in range(0, len(data), 16):
            world.reply(data[at : at + 16], at)
        assert world.tcp.expire(NOW + UNFINISHED_S) is None
