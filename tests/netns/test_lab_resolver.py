"""The resolver's bytes against an independent reader (dnspython), its pace, and the rogue one."""

from __future__ import annotations

import socket

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from tests.lab import Host, Lab, world, zone
from tests.lab.rogue import Asked, Reply
from tests.lab.topology import SECOND_RESOLVER

ZONE_HOSTS = (
    Host("a.test", ("192.0.2.1", "192.0.2.2"), ("2001:db8::1",), ttl=7),
    Host("turn.test", tuple(f"192.0.2.{n}" for n in range(10, 15)), per_answer=2, ttl=1),
    Host("one.test", cname="two.test", ttl=3),
    Host("two.test", cname="a.test", ttl=4),
    Host("loop.test", cname="pool.test"),
    Host("pool.test", cname="loop.test"),
    Host("dangling.test", cname="nowhere.test"),
    Host("big.test", tuple(f"198.51.{n >> 8}.{n & 255}" for n in range(600))),
    Host("*.wild.test", ("192.0.2.99",)),
    Host("own.wild.test", ("192.0.2.98",)),
    Host("bad.test", rcode=zone.SERVFAIL),
)


GOOD = zone.ask("a.test", 1, 5)


@pytest.fixture
def known() -> zone.Zone:
    made = zone.Zone()
    made.put(ZONE_HOSTS)
    return made


def ask(
    known: zone.Zone, name: str, kind: str = "A", *, edns: int | None = None, tcp: bool = False
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=edns is not None, payload=edns)
    wire = query.to_wire()
    question = zone.parse_question(wire)
    assert question is not None
    reply = dns.message.from_wire(known.answer(wire, question, limit=65535 if tcp else None))
    assert reply.id == query.id
    assert reply.question == query.question
    return reply


def addresses(reply: dns.message.Message) -> list[str]:
    return [item.to_text() for rr in reply.answer if rr.rdtype != dns.rdatatype.CNAME for item in rr]


def test_addresses_with_their_ttl(known: zone.Zone) -> None:
    reply = ask(known, "A.tEst")
    assert addresses(reply) == ["192.0.2.1", "192.0.2.2"]
    assert [rr.ttl for rr in reply.answer] == [7]
    assert reply.flags & dns.flags.RD
    assert reply.flags & dns.flags.RA
    assert addresses(ask(known, "a.test", "AAAA")) == ["2001:db8::1"]


def test_other_types_are_empty_and_unknown_names_are_not_there(known: zone.Zone) -> None:
    assert ask(known, "a.test", "TXT").rcode() == dns.rcode.NOERROR
    assert ask(known, "a.test", "TXT").answer == []
    assert ask(known, "b.test").rcode() == dns.rcode.NXDOMAIN
    assert ask(known, ".").rcode() == dns.rcode.NXDOMAIN
    assert ask(known, "bad.test").rcode() == dns.rcode.SERVFAIL


def test_a_chain_is_given_whole(known: zone.Zone) -> None:
    reply = ask(known, "one.test")
    assert [(str(rr.name), rr.ttl, rr[0].to_text()) for rr in reply.answer] == [
        ("one.test.", 3, "two.test."),
        ("two.test.", 4, "a.test."),
        ("a.test.", 7, "192.0.2.1"),
    ]


def test_a_chain_without_end_and_one_into_nowhere_are_answered(known: zone.Zone) -> None:
    assert addresses(ask(known, "loop.test")) == []
    dangling = ask(known, "dangling.test")
    assert dangling.rcode() == dns.rcode.NXDOMAIN
    assert len(dangling.answer) == 1


def test_a_pool_is_handed_round(known: zone.Zone) -> None:
    got = [sorted(addresses(ask(known, "turn.test"))) for _ in range(6)]
    assert got[0] == ["192.0.2.10", "192.0.2.11"]
    assert got[4] == ["192.0.2.10", "192.0.2.14"]
    assert got[5] == got[0]


def test_a_wildcard_covers_every_depth_below_it_only(known: zone.Zone) -> None:
    assert addresses(ask(known, "x.wild.test")) == addresses(ask(known, "a.b.c.wild.test")) == ["192.0.2.99"]
    assert addresses(ask(known, "own.wild.test")) == ["192.0.2.98"]
    assert ask(known, "wild.test").rcode() == dns.rcode.NXDOMAIN
    assert ask(known, "xwild.test").rcode() == dns.rcode.NXDOMAIN


def test_a_long_answer_is_truncated_to_what_the_asker_takes(known: zone.Zone) -> None:
    for edns in (None, 1232):
        short = ask(known, "big.test", edns=edns)
        assert short.flags & dns.flags.TC
        assert short.answer == []
        assert (short.edns == 0) is (edns is not None)
    whole = ask(known, "big.test", tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(addresses(whole)) == 600


def test_edits_are_in_the_next_answer(known: zone.Zone) -> None:
    ask(known, "one.test")
    known.put([Host("a.test", ("192.0.2.77",))])
    assert addresses(ask(known, "one.test")) == ["192.0.2.77"]
    known.drop(["A.test.", "never.there"])
    assert ask(known, "a.test").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        bytes(12),
        GOOD[:-1],
        GOOD[:2] + b"\x80" + GOOD[3:],  # an answer
        GOOD[:4] + b"\0\2" + GOOD[6:],  # two questions
        GOOD[:12] + b"\xc0\x0c\0\1\0\1",  # a pointer to itself
        GOOD[:12] + b"\x3f" + b"a" * 20,
    ],
)
def test_what_is_no_query_is_not_answered(wire: bytes) -> None:
    assert zone.parse_question(wire) is None


def test_names_with_odd_bytes_are_readable_in_the_log() -> None:
    assert zone.text_of(b"\x04a.\x00\xff\x04test\x00") == "a\\046\\000\\255.test"


@pytest.mark.netns
def test_the_resolver_keeps_up_with_a_burst(module_lab: Lab) -> None:
    """20,000 queries in windows of 500: every one is answered and logged. The pace is the benchmark's."""
    lab = module_lab
    lab.resolver.clear()
    total, window = 20_000, 500
    queries = [zone.ask(world.EXACT, 1, n & 0xFFFF) for n in range(total)]
    with lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.settimeout(5)
        sock.connect((lab.router.addresses.v4, 53))
        for start in range(0, total, window):
            for query in queries[start : start + window]:
                sock.send(query)
            got = {sock.recv(512)[:2] for _ in range(window)}
            assert got == {query[:2] for query in queries[start : start + window]}
    assert lab.resolver.arrived() == total == len(lab.resolver.log())
    lab.resolver.clear()


@pytest.mark.netns
def test_garbage_does_not_stop_the_resolver(module_lab: Lab) -> None:
    with module_lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for size in (0, 1, 12, 17, 400):
            sock.sendto(b"\xff" * size, (module_lab.router.addresses.v4, 53))
            sock.sendto(b"\0" * size, (module_lab.router.addresses.v4, 53))
    with module_lab.device.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.connect((module_lab.router.addresses.v4, 53))
        sock.sendall(b"\0\5abcde\xff")
    assert module_lab.reach.dns(world.EXACT).ok
    assert module_lab.reach.dns(world.EXACT, tcp=True).ok


@pytest.mark.netns
def test_a_rogue_resolver_does_as_the_test_says(lab: Lab) -> None:
    forged = ("198.51.100.7", 5353)
    lied = zone.Zone()
    lied.put([Host(world.EXACT, ("203.0.113.66",))])

    def answer(asked: Asked) -> list[Reply]:
        question = zone.parse_question(asked.payload)
        assert question is not None
        true = lied.answer(asked.payload, question)
        wrong_id = bytes((true[0] ^ 1,)) + true[1:]
        return [Reply(wrong_id), Reply(true, spoofed=forged), Reply(true, delay_s=0.05)]

    with lab.rogue_resolver(answer) as rogue, lab.device.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        lab.set_resolvers([SECOND_RESOLVER.v4])
        assert lab.reach.dns(world.EXACT).detail == "203.0.113.66"
        sock.settimeout(2)
        sock.sendto(zone.ask(world.EXACT, 1, 0x1234), (SECOND_RESOLVER.v4, 53))
        got = [sock.recvfrom(512) for _ in range(3)]
        assert [(reply[:2], source) for reply, source in got] == [
            (b"\x13\x34", (SECOND_RESOLVER.v4, 53)),
            (b"\x12\x34", forged),
            (b"\x12\x34", (SECOND_RESOLVER.v4, 53)),
        ]
        assert lab.reach.dns(world.EXACT, tcp=True).detail == "wrong_id"
    assert {asked.transport for asked in rogue.asked} == {"udp", "tcp"}


@pytest.mark.netns
def test_an_error_in_the_tests_own_answer_is_not_silence(lab: Lab) -> None:
    def answer(_: Asked) -> list[Reply]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), lab.rogue_resolver(answer, SECOND_RESOLVER.v6):
        assert lab.reach_from(lab.device, 0.2).dns(world.EXACT, server=SECOND_RESOLVER.v6).detail == "timeout"
