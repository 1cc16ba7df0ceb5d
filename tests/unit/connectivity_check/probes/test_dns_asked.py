"""One question under way: whom it goes to, and what settles it. Time stands still until a test moves it."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from connectivity_check.failure import Seen
from connectivity_check.probes.dns_asked import Asked, Settled
from connectivity_check.probes.dns_evidence import is_bogon, judge
from connectivity_check.probes.dns_question import QuestionType, make_question
from connectivity_check.probes.dns_socket import Server, Ticket
from connectivity_check.probes.dns_trouble import Trouble
from connectivity_check.probes.error_queue import IcmpError

ONE, TWO, THREE = (("10.0.0.1", 53), ("10.0.0.2", 53), ("10.0.0.3", 53))
ELSEWHERE = ("10.6.6.6", 53)
UNREACHABLE = Trouble(Seen.CONNECTION_REFUSED, "ECONNREFUSED", IcmpError("10.0.0.1", 3, 3, 4))


class Bench:
    """A question with the time and the wake-ups in hand."""

    def __init__(
        self,
        *servers: Server,
        kind: QuestionType = QuestionType.A,
        tcp: bool = False,
        budget_s: float = 10.0,
    ) -> None:
        self.time = 100.0
        self.woken = 0
        self.asked = Asked(
            make_question("a.example", kind),
            servers,
            tcp=tcp,
            budget_s=budget_s,
            now=lambda: self.time,
            wake=self.wake,
        )

    def wake(self) -> None:
        self.woken += 1

    def send(self) -> Server | None:
        """What is due goes out."""
        server = self.asked.due()
        if server is not None and not self.asked.tcp:
            self.asked.keep(Ticket(self.asked, server, lambda: None))
        return server

    def move_to_next(self) -> Server | None:
        self.time = self.asked.next_at
        return self.send()

    def hear(
        self,
        server: Server,
        *addresses: str,
        rcode: str = "NOERROR",
        sender: Server | None = None,
        tc: bool = False,
    ) -> None:
        query = dns.message.from_wire(self.asked.question.render(1))
        answer = dns.message.make_response(query)
        answer.set_rcode(dns.rcode.from_text(rcode))
        if tc:
            answer.flags |= dns.flags.TC
        if addresses:
            kind = self.asked.question.kind.name
            answer.answer.append(dns.rrset.from_text("a.example.", 60, "IN", kind, *addresses))
        self.asked.heard(answer.to_wire(), server, sender or server)

    @property
    def settled(self) -> Settled:
        assert self.asked.settled is not None
        return self.asked.settled


def schedule(bench: Bench) -> list[tuple[float, Server | None]]:
    found = []
    while bench.asked.next_at < float("inf"):
        at = round(bench.asked.next_at - 100, 2)
        found.append((at, bench.move_to_next()))
    return found


def test_one_server_is_asked_four_times() -> None:
    assert schedule(Bench(ONE)) == [(0, ONE), (1.5, ONE), (4, ONE), (7, ONE)]


def test_servers_take_turns() -> None:
    assert [server for _, server in schedule(Bench(ONE, TWO))] == [ONE, TWO, ONE, TWO]
    assert [server for _, server in schedule(Bench(ONE, TWO, THREE))] == [ONE, TWO, THREE] * 2


def test_over_tcp_each_server_is_asked_once() -> None:
    assert schedule(Bench(ONE, TWO, tcp=True)) == [(0, ONE), (5, TWO)]


def test_nothing_is_due_before_its_time() -> None:
    bench = Bench(ONE)
    assert bench.send() == ONE
    assert bench.send() is None


def test_only_the_last_try_is_without_edns() -> None:
    bench = Bench(ONE)
    seen = []
    while bench.asked.next_at < float("inf"):
        bench.move_to_next()
        seen.append(bench.asked.edns)
    assert seen == [True, True, True, False]


def test_an_answer_settles_and_later_ones_change_nothing() -> None:
    bench = Bench(ONE)
    bench.send()
    bench.hear(ONE, "20.0.0.1")
    bench.hear(ONE, "20.0.0.2")
    assert bench.settled.answer is not None
    assert bench.settled.answer.addresses == ("20.0.0.1",)
    assert bench.asked.next_at == float("inf")
    assert bench.woken
    assert [each.answer.addresses for each in bench.asked.heard_all] == [("20.0.0.1",), ("20.0.0.2",)]


def test_a_late_answer_of_the_first_server_counts() -> None:
    bench = Bench(ONE, TWO)
    bench.send()
    assert bench.move_to_next() == TWO
    bench.hear(ONE, "20.0.0.1")
    assert bench.settled.server == ONE
    assert bench.settled.passed_over == (("10.0.0.2", "generic_timeout_error"),)


def test_an_error_moves_on_and_stands_when_the_last_agrees() -> None:
    bench = Bench(ONE, TWO)
    bench.send()
    bench.hear(ONE, rcode="REFUSED")
    assert bench.send() == TWO
    bench.hear(TWO, rcode="SERVFAIL")
    assert bench.settled.answer is not None
    assert bench.settled.answer.rcode == "SERVFAIL"


def test_icmp_moves_on_and_ends_when_all_refuse() -> None:
    bench = Bench(ONE, TWO)
    bench.send()
    bench.asked.failed(UNREACHABLE, ONE)
    assert bench.send() == TWO
    bench.asked.failed(UNREACHABLE, TWO)
    assert bench.send() is None, "no flood at a host that refuses"
    bench.time += 0.1
    while bench.send():
        bench.asked.failed(UNREACHABLE, ONE)
        bench.time += 0.1
    assert bench.settled.trouble == UNREACHABLE
    assert bench.time < 101


def test_a_forged_icmp_error_does_not_beat_the_answer() -> None:
    bench = Bench(ONE)
    bench.send()
    bench.asked.failed(UNREACHABLE, ONE)
    bench.hear(ONE, "20.0.0.1")
    assert bench.settled.answer is not None


def test_an_error_of_others_stands_in_for_silence() -> None:
    bench = Bench(ONE)
    bench.send()
    bench.asked.give_up({ONE: UNREACHABLE})
    assert bench.settled.trouble == UNREACHABLE


def test_silence_names_the_first_server() -> None:
    bench = Bench(ONE, TWO)
    schedule(bench)
    bench.asked.give_up()
    assert (bench.settled.server, bench.settled.trouble.seen) == (ONE, Seen.TIMEOUT)


def test_truncated_turns_to_tcp_and_udp_is_heard_no_more() -> None:
    bench = Bench(ONE, TWO)
    bench.send()
    bench.hear(ONE, tc=True)
    assert bench.asked.tcp
    assert bench.send() == ONE
    bench.hear(ONE, "20.0.0.1")
    assert bench.asked.settled is None
    bench.asked.failed(UNREACHABLE, ONE)
    assert bench.settled.answer is not None
    assert bench.settled.answer.truncated


def test_answers_from_elsewhere_are_listed_once() -> None:
    bench = Bench(ONE)
    bench.send()
    for sender in (ELSEWHERE, ELSEWHERE, (ONE[0], 5353)):
        bench.hear(ONE, "20.6.6.6", sender=sender)
    assert bench.asked.settled is None
    assert bench.asked.wrong_source == ["10.6.6.6", "10.0.0.1#5353"]


def both(a: Bench, aaaa: Bench) -> tuple[Seen | None, dict[str, object]]:
    for bench in (a, aaaa):
        if bench.asked.settled is None:
            bench.asked.give_up()
    found = judge("a.example", a.asked, aaaa.asked)
    return found.seen, dict(found.evidence)


def family(kind: QuestionType, what: str) -> Bench:
    bench = Bench(ONE, kind=kind)
    bench.send()
    if what == "icmp":
        bench.asked.failed(UNREACHABLE, ONE)
    elif what[:1].isupper():
        bench.hear(ONE, rcode=what)
    elif what:
        bench.hear(ONE, what)
    return bench


@pytest.mark.parametrize(
    ("a", "aaaa", "seen", "rcode", "per_family"),
    [
        ("20.0.0.1", "2603::1", None, "NOERROR", None),
        ("20.0.0.1", "NOERROR", None, "NOERROR", None),
        ("20.0.0.1", "", None, "NOERROR", ("NOERROR", "timeout")),
        ("20.0.0.1", "NXDOMAIN", None, "NOERROR", ("NOERROR", "NXDOMAIN")),
        ("", "2603::1", None, "NOERROR", ("timeout", "NOERROR")),
        ("SERVFAIL", "2603::1", None, "NOERROR", ("SERVFAIL", "NOERROR")),
        ("NOERROR", "2603::1", None, "NOERROR", None),
        ("0.0.0.0", "2603::1", None, "NOERROR", None),
        ("0.0.0.0", "NOERROR", Seen.DNS_BOGON, "NOERROR", None),
        ("NOERROR", "NOERROR", Seen.DNS_NO_ANSWER, "NOERROR", None),
        ("NOERROR", "SERVFAIL", Seen.DNS_NO_ANSWER, "NOERROR", ("NOERROR", "SERVFAIL")),
        ("NXDOMAIN", "NXDOMAIN", Seen.DNS_NXDOMAIN, "NXDOMAIN", None),
        ("NXDOMAIN", "", Seen.DNS_NXDOMAIN, "NXDOMAIN", ("NXDOMAIN", "timeout")),
        ("", "NXDOMAIN", Seen.DNS_NXDOMAIN, "NXDOMAIN", ("timeout", "NXDOMAIN")),
        ("SERVFAIL", "NOERROR", Seen.DNS_SERVFAIL, "SERVFAIL", ("SERVFAIL", "NOERROR")),
        ("", "NOERROR", Seen.TIMEOUT, None, ("timeout", "NOERROR")),
        ("", "", Seen.TIMEOUT, None, None),
        ("icmp", "", Seen.CONNECTION_REFUSED, None, ("connection_refused", "timeout")),
    ],
)
def test_which_family_speaks_for_the_name(
    a: str, aaaa: str, seen: Seen | None, rcode: str | None, per_family: tuple[str, str] | None
) -> None:
    found, evidence = both(family(QuestionType.A, a), family(QuestionType.AAAA, aaaa))
    assert found is seen
    assert evidence.get("rcode") == rcode
    told = (evidence.get("rcode4"), evidence.get("rcode6"))
    assert told == (per_family or (None, None))
    assert ("icmp" in evidence) == (a == "icmp")


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "0.0.0.1", "127.8.8.8", "169.254.1.1", "224.0.0.1", "192.0.2.1", "198.51.100.9", "203.0.113.5",
     "::", "::1", "fe80::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0", "3fff::1"],
)  # fmt: skip
def test_bogons(address: str) -> None:
    assert is_bogon(address)


@pytest.mark.parametrize(
    "address",
    [
        "20.1.2.3",
        "10.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.2",
        "fc00::1",
        "2603::1",
        "::ffff:20.1.2.3",
    ],
)
def test_no_bogons(address: str) -> None:
    assert not is_bogon(address)
